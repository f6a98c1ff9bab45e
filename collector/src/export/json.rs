//! Writes JSON text piece by piece, without a document in between. Called by `zipkin`.

/// JSON under way. The caller opens and closes in order; commas are put where they belong.
pub(super) struct Json {
    out: Vec<u8>,
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl Json {
    /// Room for about `bytes`.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(bytes),
        }
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// What was written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(super) fn open_object(&mut self) {
        self.out.push(b'{');
    }

    pub(super) fn close_object(&mut self) {
        self.out.push(b'}');
    }

    pub(super) fn open_array(&mut self) {
        self.out.push(b'[');
    }

    pub(super) fn close_array(&mut self) {
        self.out.push(b']');
    }

    /// Begins an array's next element.
    pub(super) fn element(&mut self) {
        self.comma();
    }

    /// Begins an object's next member; its value comes next.
    pub(super) fn key(&mut self, key: &str) -> &mut Self {
        self.comma();
        self.string(key);
        self.out.push(b':');
        self
    }

    /// An object's next member, key and value, that was written elsewhere.
    pub(super) fn member(&mut self, member: &[u8]) {
        self.comma();
        self.out.extend_from_slice(member);
    }

    /// A string value.
    pub(super) fn string(&mut self, text: &str) {
        self.out.push(b'"');
        let mut rest = text.as_bytes();
        // Runs without anything to escape, which is nearly always all of it, are copied whole.
        while let Some(at) = find_escape(rest) {
            let (run, from) = rest.split_at(at);
            self.out.extend_from_slice(run);
            let Some((&byte, after)) = from.split_first() else {
                break;
            };
            self.escape(byte);
            rest = after;
        }
        self.out.extend_from_slice(rest);
        self.out.push(b'"');
    }

    /// A number value.
    pub(super) fn number(&mut self, number: u64) {
        self.raw(itoa::Buffer::new().format(number));
    }

    /// A string value of hex digits.
    pub(super) fn hex(&mut self, bytes: &[u8]) {
        self.out.push(b'"');
        self.hex_digits(bytes);
        self.out.push(b'"');
    }

    /// Hex digits alone.
    pub(super) fn hex_digits(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.out.push(digit(byte >> 4));
            self.out.push(digit(byte & 15));
        }
    }

    /// Text as it is.
    pub(super) fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn comma(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[')) {
            self.out.push(b',');
        }
    }

    fn escape(&mut self, byte: u8) {
        match byte {
            b'"' => self.raw("\\\""),
            b'\\' => self.raw("\\\\"),
            b'\n' => self.raw("\\n"),
            b'\r' => self.raw("\\r"),
            b'\t' => self.raw("\\t"),
            _ => {
                self.raw("\\u00");
                self.hex_digits(&[byte]);
            }
        }
    }
}

/// Where the first byte to escape is. Whole blocks are looked at without a branch for each byte, which the compiler
/// turns into vector instructions.
fn find_escape(bytes: &[u8]) -> Option<usize> {
    let (blocks, _) = bytes.as_chunks::<16>();
    let clean = blocks
        .iter()
        .take_while(|block| {
            !block
                .iter()
                .fold(false, |any, &byte| any | must_escape(byte))
        })
        .count();
    let from = clean * 16;
    let rest = bytes.get(from..)?;
    rest.iter()
        .position(|&byte| must_escape(byte))
        .map(|at| from + at)
}

fn must_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

fn digit(nibble: u8) -> u8 {
    HEX[usize::from(nibble & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_comes_back(key in any::<String>(), text in any::<String>(), bytes in any::<[u8; 8]>()) {
            let mut json = Json::with_capacity(0);
            json.open_array();
            for _ in 0..2 {
                json.element();
                json.open_object();
                json.key(&key).string(&text);
                json.close_object();
            }
            json.element();
            json.hex(&bytes);
            json.element();
            json.number(u64::MAX);
            json.close_array();
            let read: serde_json::Value = serde_json::from_slice(&json.into_bytes()).unwrap();
            let hex = format!("{:016x}", u64::from_be_bytes(bytes));
            prop_assert_eq!(
                read,
                serde_json::json!([{ &key: &text }, { &key: &text }, hex, u64::MAX])
            );
        }
    }

    #[test]
    fn every_control_character_is_escaped() {
        for code in 0..=0x7f_u8 {
            let text = char::from(code).to_string();
            let mut json = Json::with_capacity(0);
            json.string(&text);
            let bytes = json.into_bytes();
            assert_eq!(serde_json::from_slice::<String>(&bytes).unwrap(), text);
        }
    }
}
