//! The one style sheet and the one script, inside the binary; their URLs carry a hash of their content,
//! so browsers keep them for good. Mounted by `web::router`, linked by `layout`.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

const STYLE: &str = include_str!("assets/bellwether.css");
const SCRIPT: &str = include_str!("assets/bellwether.js");

static STYLE_NAME: LazyLock<String> =
    LazyLock::new(|| format!("bellwether-{:016x}.css", fnv1a(STYLE.as_bytes())));
static SCRIPT_NAME: LazyLock<String> =
    LazyLock::new(|| format!("bellwether-{:016x}.js", fnv1a(SCRIPT.as_bytes())));

/// The path of the style sheet.
pub(super) fn style_path() -> String {
    format!("/assets/{}", *STYLE_NAME)
}

/// The path of the script.
pub(super) fn script_path() -> String {
    format!("/assets/{}", *SCRIPT_NAME)
}

/// `GET /assets/{file}`.
pub(super) async fn serve(Path(file): Path<String>) -> Response {
    let (kind, body) = if file == *STYLE_NAME {
        ("text/css; charset=utf-8", STYLE)
    } else if file == *SCRIPT_NAME {
        ("text/javascript; charset=utf-8", SCRIPT)
    } else {
        return (
            StatusCode::NOT_FOUND,
            "not found: no such asset; reload the page\n",
        )
            .into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, body).into_response()
}

/// FNV-1a, 64 bits: small, and the same on every machine and in every version.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn the_assets_ask_for_nothing_outside() {
        for text in [STYLE, SCRIPT] {
            assert!(!text.contains("http://") && !text.contains("https://"));
            assert!(!text.contains("@import") && !text.contains("eval("));
        }
    }
}
