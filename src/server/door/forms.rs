//! Forms of browsers: which bodies are some, and the fields of one.

use axum::http::{HeaderMap, header};

/// Whether a page of any site can make a browser send such a body without asking us first.
pub(in crate::server) fn is_form(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return false };
    let kind = kind.to_str().unwrap_or("").split(';').next().unwrap_or("").trim();
    !kind.eq_ignore_ascii_case("application/json")
}

/// The first field of a name in a body that is `application/x-www-form-urlencoded`.
pub(in crate::server) fn field(body: &[u8], name: &str) -> Option<String> {
    let mut fields = form_urlencoded::parse(body);
    fields.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_browsers_write_them() {
        let body = b"user=an+na%40example.org&password=p%26%3D%25&empty=&bare&user=eve&bad=%zz%4";
        let get = |name| field(body, name);
        assert_eq!(get("user").as_deref(), Some("an na@example.org"));
        assert_eq!(get("password").as_deref(), Some("p&=%"));
        assert_eq!((get("empty"), get("bare")), (Some(String::new()), Some(String::new())));
        assert_eq!(get("bad").as_deref(), Some("%zz%4"));
        assert_eq!(get("none"), None);
    }
}
