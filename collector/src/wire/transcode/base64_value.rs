//! Bytes in JSON, which are base64 (ProtoJSON). Used by `otlp_json`.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::json_reader::{JsonError, JsonReader, JsonResult};
use super::json_text::shown;
use super::proto_writer::{Expected, ProtoWriter};

/// Standard or URL-safe base64, with or without padding (ProtoJSON, bytes), decoded piece by piece into `field`.
pub(super) fn bytes_value(
    json: &mut JsonReader<'_>,
    out: &mut ProtoWriter,
    field: u32,
) -> JsonResult<()> {
    const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true);
    const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, CONFIG);
    const FOR_URLS: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, CONFIG);
    const PIECE: usize = 1024;
    let at = json.position();
    let text = json.string()?;
    let (digits, padding) = text.split_at(text.trim_end_matches('=').len());
    let engine = if digits.contains(['-', '_']) {
        FOR_URLS
    } else {
        PLAIN
    };
    let fault = |reason: String| JsonError {
        at,
        reason: format!("`{}` is not base64: {reason}", shown(&text)).into(),
    };
    if !padding.is_empty() && text.len() % 4 != 0 {
        return Err(fault("wrong padding".to_owned()));
    }
    let value = out.open(field, Expected::Small);
    for piece in digits.as_bytes().chunks(PIECE) {
        let mut bytes = [0; PIECE / 4 * 3];
        let length = engine
            .decode_slice(piece, &mut bytes)
            .map_err(|error| fault(error.to_string()))?;
        out.fields(bytes.get(..length).unwrap_or_default());
    }
    out.close(value);
    Ok(())
}
