//! As much DER as it takes to see a certificate's URI names and whether it may sign others (RFC 5280, X.690): the verifier
//! of chains tells neither. Used by `spiffe`, on certificates that were verified.

/// What an X.509 certificate says of itself.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    /// Its subject alternative names of the kind URI, as they are.
    pub(super) uris: Vec<&'a [u8]>,
    /// `cA` of its basic constraints.
    pub(super) is_authority: bool,
    /// Its key may sign certificates or revocation lists.
    pub(super) may_sign: bool,
}

const BOOLEAN: u8 = 0x01;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// `extensions` of `TBSCertificate`: [3], constructed.
const EXTENSIONS: u8 = 0xa3;
/// `uniformResourceIdentifier` of `GeneralName`: [6].
const URI: u8 = 0x86;

const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

/// `keyCertSign` (bit 5) and `cRLSign` (bit 6), counted from the highest.
const SIGNING: u8 = 0b0000_0110;

/// More than anybody's certificate has, so that one of a megabyte costs nothing.
const MOST_ELEMENTS: usize = 1024;

/// Reads a certificate; `None` when it is none, or has more in it than any.
pub(super) fn names_and_rights(certificate: &[u8]) -> Option<Names<'_>> {
    let mut certificate = Elements(certificate).next_of(SEQUENCE)?;
    let to_be_signed = certificate.next_of(SEQUENCE)?;
    let mut names = Names::default();
    for element in to_be_signed.all()? {
        if element.tag == EXTENSIONS {
            let extensions = element.elements().next_of(SEQUENCE)?;
            for extension in extensions.all()? {
                names.read(extension.elements())?;
            }
        }
    }
    Some(names)
}

impl<'a> Names<'a> {
    /// `Extension`: an OID, a flag that may be left out, and a value whose bytes are DER again.
    fn read(&mut self, extension: Elements<'a>) -> Option<()> {
        let parts = extension.all()?;
        let (id, value) = (parts.first()?, parts.last()?);
        if id.tag != OID || value.tag != OCTET_STRING {
            return None;
        }
        let mut value = value.elements();
        match id.content {
            SUBJECT_ALT_NAME => {
                let names = value.next_of(SEQUENCE)?.all()?;
                let uris = names.iter().filter(|name| name.tag == URI);
                self.uris.extend(uris.map(|name| name.content));
            }
            BASIC_CONSTRAINTS => {
                let constraints = value.next_of(SEQUENCE)?.all()?;
                let first = constraints.first();
                self.is_authority |=
                    first.is_some_and(|first| first.tag == BOOLEAN && first.content != [0]);
            }
            KEY_USAGE => {
                // The first byte says how many bits of the last one do not count.
                let bits = value.next().filter(|bits| bits.tag == BIT_STRING)?;
                self.may_sign |= bits.content.get(1).is_some_and(|bits| bits & SIGNING != 0);
            }
            _ => {}
        }
        Some(())
    }
}

/// A tag and what it holds.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
}

impl<'a> Element<'a> {
    fn elements(&self) -> Elements<'a> {
        Elements(self.content)
    }
}

/// One element after another.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The next one, whose tag has one byte and whose length is told beforehand.
    fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let join = |length: usize, byte: &u8| length << 8 | usize::from(*byte);
                (length.iter().fold(0, join), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Element { tag, content })
    }

    /// What is in the next one, which must be of this tag.
    fn next_of(&mut self, tag: u8) -> Option<Elements<'a>> {
        let element = self.next().filter(|element| element.tag == tag)?;
        Some(element.elements())
    }

    fn all(mut self) -> Option<Vec<Element<'a>>> {
        let mut all = Vec::new();
        while !self.0.is_empty() {
            if all.len() == MOST_ELEMENTS {
                return None;
            }
            all.push(self.next()?);
        }
        Some(all)
    }
}
