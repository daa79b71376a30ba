use proptest::prelude::*;

use super::*;

/// By Apache's `htpasswd -nbB -C 4 ann secret`.
const ANN: &str = "ann:$2y$04$DHRNPAmxKk/F0y5E56evvOar7/QB3T.9dwwzjlJBju8rtQb2K2fZm";

fn digest(token: &str) -> String {
    crate::oci::Digest::of(token.as_bytes()).to_string().replace("sha256:", "")
}

#[test]
fn passwords_are_those_of_apache() {
    let text = format!("# users\n\n{ANN}\r\n");
    let passwords: Passwords = text.parse().unwrap();
    assert!(passwords.verify("ann", b"secret"));
    assert!(!passwords.verify("ann", b"secret2"));
    assert!(!passwords.verify("ann", b""));
    assert!(!passwords.verify("bob", b"secret"), "its hash is used only for the time it takes");
    assert!(!Passwords::default().verify("ann", b"secret"));
}

#[test]
fn passwords_that_bcrypt_does_not_tell_apart_are_none() {
    let hash = |password: &str| {
        let hash = bcrypt::hash(password, MIN_COST).unwrap();
        format!("ann:{hash}").parse::<Passwords>().unwrap()
    };
    let longest = "x".repeat(MAX_PASSWORD);
    let passwords = hash(&longest);
    assert!(passwords.verify("ann", longest.as_bytes()));
    assert!(!passwords.verify("ann", format!("{longest}y").as_bytes()));
    // As it is repeated with a NUL between, this was the same.
    let passwords = hash("secret");
    assert!(passwords.verify("ann", b"secret"));
    assert!(bcrypt::verify(b"secret\0secret", &passwords.hashes["ann"]).unwrap());
    assert!(!passwords.verify("ann", b"secret\0secret"));
    // Without anything, bcrypt repeats the NUL.
    assert!(hash("").verify("ann", b"") && !hash("").verify("ann", b"\0"));
}

#[test]
fn other_hashes_are_refused_with_their_line_and_without_what_it_says() {
    for (hash, expected) in [
        ("$apr1$x$secret", "MD5"),
        ("{SHA}secret", "SHA-1"),
        ("$6$secret", "SHA-2"),
        ("$2x$10$secret", "weak"),
        ("secret", "plain text"),
        ("$2y$10$secret", "60 characters"),
        (&ANN["ann:".len()..].replace("$04$", "$16$"), "4 to 15"),
        (&ANN["ann:".len()..].replace("$04$", "$03$"), "can't be used"),
    ] {
        let error = format!("{ANN}\nbob:{hash}").parse::<Passwords>().unwrap_err();
        assert_eq!(error.line, 2, "{hash}");
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains("bob"), "{hash}: {text}");
        assert!(!text.contains("secret"), "{text}");
    }
    let error = |text: &str| text.parse::<Passwords>().unwrap_err().to_string();
    assert!(error(&format!("{ANN}\n{ANN}")).contains("line 2: ann has a password already"));
    assert!(error("secret").contains("expected USER:HASH"));
    assert!(error("anonymous:$2y$").contains("other than anonymous"));
    assert!(error(":$2y$").contains("name of a user"));
}

#[test]
fn tokens_are_found_by_their_hash() {
    let (one, two) = (digest("one"), digest("two").to_uppercase());
    let tokens: Tokens =
        format!("ci:{one}\n# old\nci:{two}\nann:{}", digest("three")).parse().unwrap();
    let user = |token: &str| tokens.user(token.as_bytes()).map(ToString::to_string);
    assert_eq!(user("one").as_deref(), Some("ci"));
    assert_eq!(user("two").as_deref(), Some("ci"));
    assert_eq!(user("three").as_deref(), Some("ann"));
    assert_eq!(user("four"), None);
    assert_eq!(user(&one), None, "the hash is not the token");

    let error = |text: &str| text.parse::<Tokens>().unwrap_err().to_string();
    assert!(error("ci:one").contains("line 1: the token of ci can't be used"));
    assert!(error(&format!("ci:{one}\nann:{one}")).contains("line 2"));
}

proptest! {
    #[test]
    fn any_file_is_taken_or_refused(
        text in r"((ann|bob|é|)(:|)(\$2y\$|\$2b\$04\$|[0-9a-f]{62,64}|é|)[./A-Za-z0-9$]{0,56}(\r?\n|\x00)){0,4}",
    ) {
        let _ = (text.parse::<Passwords>(), text.parse::<Tokens>());
    }

    #[test]
    fn any_text_is_taken_or_refused(text in any::<String>()) {
        let _ = (text.parse::<Passwords>(), text.parse::<Tokens>());
    }

    #[test]
    fn a_hash_of_the_right_length_can_be_checked_against(tail in "[./A-Za-z0-9]{53}") {
        if let Ok(passwords) = format!("ann:$2y$04${tail}").parse::<Passwords>() {
            prop_assert!(!passwords.verify("ann", b"secret"));
        }
    }
}
