//! One value each: where it came from, how it is read, and what is said when it cannot be. Used by `config`.

use std::ffi::OsString;
use std::fmt;
use std::net::Ipv6Addr;
use std::time::Duration;

/// A text and the flag or variable it came from.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) source: String,
    pub(super) value: String,
}

/// A value that is not allowed.
#[derive(Debug)]
pub(super) struct Fault {
    source: String,
    value: String,
    allowed: String,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// Host name or address; an IPv6 address without its brackets.
    pub host: String,
    /// Port; 0 is any free one.
    pub port: u16,
    /// The flag or variable that asked for this port; `None` for a default, which may be left out when it
    /// is taken.
    pub asked_by: Option<String>,
}

impl Setting {
    /// The flag's value, else that of its variable; an empty variable is none.
    pub(super) fn find(
        flag: Option<String>,
        name: &str,
        variable: &dyn Fn(&str) -> Option<OsString>,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        match flag {
            Some(value) => Some(Self {
                source: name.to_owned(),
                value,
            }),
            None => Self::from_variable(name, variable, faults),
        }
    }

    /// The flag's values, else those in its variable, separated by commas.
    pub(super) fn find_all(
        flags: Vec<String>,
        name: &str,
        variable: &dyn Fn(&str) -> Option<OsString>,
        faults: &mut Vec<Fault>,
    ) -> Vec<Self> {
        if flags.is_empty() {
            let all = Self::from_variable(name, variable, faults);
            return all.iter().flat_map(Self::split).collect();
        }
        let source = name.to_owned();
        let with_source = |value| Self {
            source: source.clone(),
            value,
        };
        flags.into_iter().map(with_source).collect()
    }

    fn from_variable(
        flag: &str,
        variable: &dyn Fn(&str) -> Option<OsString>,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        let name = flag.trim_start_matches('-').replace('-', "_");
        let source = format!("BELLWETHER_{}", name.to_ascii_uppercase());
        match variable(&source)?.into_string() {
            Ok(value) if value.trim().is_empty() => None,
            Ok(value) => Some(Self { source, value }),
            Err(value) => {
                let value = value.to_string_lossy();
                faults.push(Fault::new(source, value, "UTF-8 text is needed"));
                None
            }
        }
    }

    fn split(&self) -> impl Iterator<Item = Self> {
        let values = self.value.split(',').map(str::trim);
        values.filter(|value| !value.is_empty()).map(|value| Self {
            source: self.source.clone(),
            value: value.to_owned(),
        })
    }
}

impl Fault {
    pub(super) fn new(
        source: String,
        value: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        Self {
            source,
            value: value.into(),
            allowed: allowed.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            source,
            value,
            allowed,
        } = self;
        write!(f, "{source}: {value:?} is not allowed: {allowed}")
    }
}

/// A setting read by `read`, whose error says what is allowed; `None` and a fault when it fails.
pub(super) fn checked<T>(
    setting: Option<Setting>,
    faults: &mut Vec<Fault>,
    read: impl FnOnce(&Setting) -> Result<T, String>,
) -> Option<T> {
    let setting = setting?;
    match read(&setting) {
        Ok(value) => Some(value),
        Err(allowed) => {
            faults.push(Fault::new(setting.source, setting.value, allowed));
            None
        }
    }
}

impl ListenAddress {
    /// `setting` (`HOST:PORT`, `:PORT` or `PORT`) completed by `host`; `port` on `host` without one.
    pub(super) fn resolve(
        setting: Option<Setting>,
        default_host: &str,
        default_port: u16,
        faults: &mut Vec<Fault>,
    ) -> Self {
        let asked_by = setting.as_ref().map(|setting| setting.source.clone());
        let address = checked(setting, faults, |setting| host_and_port(&setting.value));
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

/// A duration: a whole number with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text);
    let seconds = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        _ => None,
    };
    seconds
        .zip(number)
        .and_then(|(seconds, number)| number.checked_mul(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| "write a number with s, m or h (90s, 30m, 1h)".to_owned())
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
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = (bytes(&text), duration(&text), host(&text));
            if let Ok((_, port)) = host_and_port(&text) {
                let digits = port.to_string();
                prop_assert!(text.trim().trim_start_matches(':').contains(digits.as_str()) || text.contains('0'));
            }
        }
    }
}
