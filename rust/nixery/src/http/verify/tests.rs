use super::*;

/// By Apache's `htpasswd -nbB -C 10 ann secret`.
const ANN: &str = "ann:$2y$10$w/f9Y.xpTJjkCp1DqYyBv.LB/9a3QeGFXnCvjvWrLdO.myVJuX3Xq";

/// A client that nobody knows.
const NOBODY: Client = Client(None);

fn verifier() -> Verifier {
    Verifier::new(Credentials { passwords: ANN.parse().unwrap(), ..Credentials::default() })
}

#[tokio::test]
async fn what_was_found_is_remembered_until_the_files_are_read_again() {
    let verifier = verifier();
    let begin = Instant::now();
    assert!(verifier.verify(NOBODY, "ann", b"secret").await.unwrap());
    let (first, begin) = (begin.elapsed(), Instant::now());
    for _ in 0..20 {
        assert!(verifier.verify(NOBODY, "ann", b"secret").await.unwrap());
    }
    assert!(begin.elapsed() < first, "20 times took {:?}, the first {first:?}", begin.elapsed());
    assert!(!verifier.verify(NOBODY, "ann", b"secret2").await.unwrap());
    assert!(!verifier.verify(NOBODY, "secret", b"ann").await.unwrap());
    verifier.replace(Credentials::default());
    assert!(!verifier.verify(NOBODY, "ann", b"secret").await.unwrap());
}

#[tokio::test]
async fn a_user_that_there_is_not_takes_as_long_as_a_wrong_password() {
    let verifier = verifier();
    let mut times = Vec::new();
    for round in 0..3 {
        for user in ["ann", "bob"] {
            let (password, begin) = (format!("wrong{round}"), Instant::now());
            assert!(!verifier.verify(NOBODY, user, password.as_bytes()).await.unwrap());
            times.push(begin.elapsed());
        }
    }
    let least = |of: usize| *times.iter().skip(of).step_by(2).min().unwrap();
    let (ann, bob) = (least(0), least(1));
    assert!(bob * 2 > ann && ann * 2 > bob, "{ann:?} and {bob:?}");
}

#[tokio::test]
async fn many_wrong_passwords_are_too_many() {
    let verifier = Arc::new(verifier());
    let tries = (0..PLACES + 20).map(|number| {
        let verifier = Arc::clone(&verifier);
        tokio::spawn(async move {
            verifier.verify(NOBODY, "ann", number.to_string().as_bytes()).await.is_err()
        })
    });
    let mut refused = 0;
    for one in tries.collect::<Vec<_>>() {
        refused += usize::from(one.await.unwrap());
    }
    assert!(refused >= 10, "only {refused} were refused");
    assert!(verifier.verify(NOBODY, "ann", b"secret").await.unwrap(), "and then it goes on");
}

#[tokio::test]
async fn one_client_leaves_places_to_others() {
    let verifier = Arc::new(verifier());
    let of = |address: &str| Client(Some(address.parse().unwrap()));
    let ask = |client: Client, password: String| {
        let verifier = Arc::clone(&verifier);
        tokio::spawn(async move { verifier.verify(client, "ann", password.as_bytes()).await })
    };
    // Of one site, from many addresses.
    let tries = (0..PLACES + 20).map(|n| ask(of(&format!("2001:db8::{n:x}")), n.to_string()));
    let tries: Vec<_> = tries.collect();
    // All with the same password need one place.
    let others = (0..20).map(|_| ask(of("192.0.2.1"), "secret".to_owned()));
    for other in others.collect::<Vec<_>>() {
        assert!(other.await.unwrap().unwrap());
    }
    let mut looked_at = 0;
    for one in tries {
        looked_at += usize::from(one.await.unwrap().is_ok());
    }
    assert_eq!(looked_at, PLACES_OF_ONE);
    assert!(verifier.verify(of("2001:db8::1"), "ann", b"secret").await.unwrap());
    assert!(verifier.line.clients.lock().unwrap().is_empty(), "all were given back");
}
