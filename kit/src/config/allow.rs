//! The allow-lists: which headers and query keys may be shown.

use http::HeaderName;

use super::reader::Reader;
use crate::http::AllowLists;

/// So many names may a list have: each is looked for in every request.
const MAX_NAMES: usize = 32;

/// The longest key of a query string, in bytes.
const MAX_KEY_BYTES: usize = 128;

pub(super) fn read(env: &mut Reader<'_>) -> AllowLists {
    let request_headers = env.ours("BELLWETHER_LOG_REQUEST_HEADERS", header_names);
    let response_headers = env.ours("BELLWETHER_LOG_RESPONSE_HEADERS", header_names);
    let query_keys = env.ours("BELLWETHER_LOG_QUERY_KEYS", query_keys);
    AllowLists {
        request_headers: request_headers.unwrap_or_default(),
        response_headers: response_headers.unwrap_or_default(),
        query_keys: query_keys.unwrap_or_default(),
    }
}

/// A comma list of header names.
///
/// # Errors
///
/// Says what is allowed.
pub(crate) fn header_names(list: &str) -> Result<Vec<HeaderName>, String> {
    names(list, |name| name.parse().ok()).ok_or_else(|| {
        format!("must be at most {MAX_NAMES} header names such as content-type,x-tenant-id")
    })
}

/// A comma list of keys of query strings, written as they are when decoded.
///
/// # Errors
///
/// Says what is allowed.
pub(crate) fn query_keys(list: &str) -> Result<Vec<String>, String> {
    let key = |key: &str| (key.len() <= MAX_KEY_BYTES).then(|| key.to_owned());
    names(list, key).ok_or_else(|| {
        format!(
            "must be at most {MAX_NAMES} keys of query strings such as page,sort, each of at most {MAX_KEY_BYTES} bytes"
        )
    })
}

/// Each name once: a line has no key twice.
fn names<T: PartialEq>(list: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let mut names = Vec::new();
    for name in list.split(',').map(str::trim) {
        if name.is_empty() {
            continue;
        }
        let name = parse(name)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    (names.len() <= MAX_NAMES).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_bounded_and_have_each_name_once() {
        assert_eq!(
            header_names(" X-Tenant-Id,, content-type ,x-tenant-id"),
            Ok(vec![
                HeaderName::from_static("x-tenant-id"),
                HeaderName::from_static("content-type")
            ])
        );
        assert_eq!(
            query_keys("page,sort by,page"),
            Ok(vec!["page".to_owned(), "sort by".to_owned()])
        );
        let many: Vec<String> = (0..=MAX_NAMES).map(|number| format!("x{number}")).collect();
        let many = many.join(",");
        for list in ["a b", "x:", &many] {
            assert!(
                header_names(list).unwrap_err().contains("x-tenant-id"),
                "{list}"
            );
        }
        for list in [many, "x".repeat(MAX_KEY_BYTES + 1)] {
            assert!(
                query_keys(&list).unwrap_err().contains("page,sort"),
                "{list}"
            );
        }
    }
}
