//! How one value each is read and written, and what is allowed. Used by `config`.

use std::fmt;
use std::net::Ipv6Addr;
use std::time::Duration;

use super::source::{Faults, Setting};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// Host name or address; an IPv6 address without its brackets.
    pub host: String,
    /// Port; 0 is any free one.
    pub port: u16,
    /// What asked for this port (`--web`, `BELLWETHER_WEB`, `collector.yaml:3: web`); `None` for a default, which may be left out when it
    /// is taken.
    pub asked_by: Option<String>,
}

impl ListenAddress {
    /// `setting` (`HOST:PORT`, `:PORT` or `PORT`) completed by `host`; `port` on `host` without one.
    pub(super) fn resolve(
        setting: Option<Setting>,
        default_host: &str,
        default_port: u16,
        faults: &mut Faults,
    ) -> Self {
        let asked_by = setting.as_ref().map(|setting| setting.source.to_string());
        let address = faults.checked(setting, host_and_port);
        let (asked_host, port) = address.unwrap_or((None, default_port));
        Self {
            host: asked_host.unwrap_or_else(|| default_host.to_owned()),
            port,
            asked_by,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn host_and_port(text: &str) -> Result<(Option<String>, u16), String> {
    let (host_text, port) = text.trim().rsplit_once(':').unwrap_or(("", text.trim()));
    let allowed =
        "write HOST:PORT, :PORT or PORT, with a port number from 0 (any free one) to 65535";
    // `parse` alone would take a leading plus sign.
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| digits).ok_or(allowed)?;
    if host_text.is_empty() {
        return Ok((None, port));
    }
    // Without its brackets an IPv6 address cannot be told from one with a port.
    if host_text.contains(':') && !host_text.starts_with('[') {
        return Err("put an IPv6 address in brackets, as in [::1]:4317".to_owned());
    }
    Ok((Some(host(host_text).map_err(|_| allowed)?), port))
}

/// Longest name of a tag that can be asked for.
const MOST_KEY_BYTES: usize = 256;

/// A host name, an IPv4 address, or an IPv6 address with or without its brackets.
pub(super) fn host(text: &str) -> Result<String, String> {
    let text = text.trim();
    let bracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let bare = bracketed.unwrap_or(text);
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_name = bracketed.is_none() && !bare.is_empty() && bare.bytes().all(name);
    if is_name || bare.parse::<Ipv6Addr>().is_ok() {
        Ok(bare.to_owned())
    } else {
        Err("a host name or an IP address is needed, without a port".to_owned())
    }
}

/// The name of a tag.
pub(super) fn key(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.len() > MOST_KEY_BYTES || text.contains(char::is_control) {
        return Err(format!(
            "the name of a tag is needed, of 1 to {MOST_KEY_BYTES} bytes"
        ));
    }
    Ok(text.to_owned())
}

/// Bytes: a plain number, or one with a binary unit (`256MiB`, Kubernetes' `256Mi`).
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = number_and_unit(text);
    let shift = match unit.strip_suffix('B').unwrap_or(unit) {
        "" => Some(0),
        "Ki" => Some(10),
        "Mi" => Some(20),
        "Gi" => Some(30),
        _ => None,
    };
    shift
        .zip(number)
        .and_then(|(shift, number)| usize::try_from(number).ok()?.checked_mul(1 << shift))
        .ok_or_else(|| "write bytes, or a number with KiB, MiB or GiB (256MiB)".to_owned())
}

/// Bytes as [`bytes`] reads them, in the largest unit that has no fraction.
pub(super) fn write_bytes(bytes: usize) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = units
        .into_iter()
        .find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    match whole {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// A duration: a whole number with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text);
    let millis = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    millis
        .zip(number)
        .and_then(|(millis, number)| number.checked_mul(millis))
        .map(Duration::from_millis)
        .ok_or_else(|| "write a number with ms, s, m or h (500ms, 90s, 1h)".to_owned())
}

/// A duration as [`duration`] reads it, in the largest unit that has no fraction.
pub(super) fn write_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let whole = units
        .into_iter()
        .find(|(_, each)| millis > 0 && millis.is_multiple_of(*each));
    match whole {
        Some((unit, each)) => format!("{}{unit}", millis / each),
        None => format!("{millis}ms"),
    }
}

/// A duration from `least` to `most`.
pub(super) fn duration_within(
    text: &str,
    least: Duration,
    most: Duration,
) -> Result<Duration, String> {
    let duration = duration(text)?;
    if (least..=most).contains(&duration) {
        return Ok(duration);
    }
    let (least, most) = (write_duration(least), write_duration(most));
    Err(format!("allowed are {least} to {most}"))
}

fn number_and_unit(text: &str) -> (Option<u64>, &str) {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    (number.parse().ok(), unit.trim_start())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_are_binary() {
        let check = |text: &str, expected: Option<usize>| {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        };
        check("1048576", Some(1 << 20));
        check("256MiB", Some(256 << 20));
        check(" 2 Gi ", Some(2 << 30));
        check("64KiB", Some(64 << 10));
        check("100B", Some(100));
        for wrong in [
            "",
            "MiB",
            "-1",
            "1.5GiB",
            "1MB",
            "99999999999999999999",
            "17179869184GiB",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn hosts_and_ports() {
        let check = |text: &str, expected: Option<(Option<&str>, u16)>| {
            let expected = expected.map(|(host, port)| (host.map(str::to_owned), port));
            assert_eq!(host_and_port(text).ok(), expected, "{text}");
        };
        check("4317", Some((None, 4317)));
        check(":4317", Some((None, 4317)));
        check("collector-1.local:1", Some((Some("collector-1.local"), 1)));
        check("[::1]:1", Some((Some("::1"), 1)));
        for wrong in [
            "",
            ":",
            "http",
            "host:",
            "host:http",
            "::1:4317",
            "[::1]",
            "+80",
            "a:+80",
            "65536",
            "-1",
            "a b:1",
            "http://a:1",
            "[a]:1",
            "[]:1",
        ] {
            check(wrong, None);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(number in 0usize..1 << 44, shift in 0u32..40) {
            let number = number >> shift << shift;
            prop_assert_eq!(bytes(&write_bytes(number)), Ok(number));
            let time = Duration::from_millis(number as u64);
            prop_assert_eq!(duration(&write_duration(time)), Ok(time));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = (bytes(&text), duration(&text), host(&text));
            if let Ok((_, port)) = host_and_port(&text) {
                let digits = port.to_string();
                prop_assert!(text.trim().trim_start_matches(':').contains(digits.as_str()) || text.contains('0'));
            }
        }
    }
}
