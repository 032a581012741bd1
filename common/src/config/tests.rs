//! A URL prints without its password.

use super::*;

#[test]
fn a_database_url_prints_without_its_password() {
    for (url, printed) in [
        (
            "postgres://me:p@ss@host:5432/db?sslmode=require",
            "postgres://me:***@host:5432/db",
        ),
        ("postgres://me@host/db", "postgres://me@host/db"),
        ("postgres://host/db?password=secret", "postgres://host/db"),
        ("postgres://host/db?password=p@ss", "postgres://host/db"),
        (
            "postgres://me:s@host:5432/db?password=p@ss#p@ss",
            "postgres://me:***@host:5432/db",
        ),
        (
            "postgres://me:p/a@ss@[::1]/db",
            "postgres://me:***@[::1]/db",
        ),
        (
            "postgres://me@[::1]:5432/db?password=p@ss",
            "postgres://me@[::1]:5432/db",
        ),
        (
            "http://me:p@ss@registry:8081",
            "http://me:***@registry:8081",
        ),
        ("http://registry:8081/?token=p@ss", "http://registry:8081/"),
        // A password without an end.
        ("http://registry:8081?token=p@ss", "http://***"),
        ("postgres://me:p?ss@host/db", "postgres://***"),
        ("postgres://me:p@s?s@host/db", "postgres://***"),
        ("postgres://me:1?s@host/db", "postgres://***"),
        ("postgres://me:pass", "postgres://***"),
        ("secret", "***"),
    ] {
        assert_eq!(DatabaseUrl::new(url).to_string(), printed);
        assert_eq!(format!("{:?}", DatabaseUrl::new(url)), printed);
        assert_eq!(
            serde_json::to_string(&DatabaseUrl::new(url)).unwrap(),
            format!("\"{printed}\"")
        );
    }
}
