//! Who may do what.

use super::{Config, Rules, TempDir, error, fs, toml, with};

#[test]
fn everybody_may_everything_unless_there_are_users_or_rules() {
    let access = |more: &[(&str, &str)]| Config::load(None, &with(more)).unwrap().access;
    assert!(access(&[]).is_none());
    let users = access(&[("NIXERY_ACCESS_TOKENS", "/tokens")]).unwrap();
    assert_eq!(users.rules, Rules::for_users());
    let mixed = [
        ("NIXERY_ACCESS_TOKENS", "/tokens"),
        ("NIXERY_ACCESS_RULES", "anonymous may pull; * may build"),
    ];
    assert!(error(None, &with(&mixed)).contains("NIXERY_ACCESS_URL (access.url)"));
    let anonymous = [("NIXERY_ACCESS_RULES", "anonymous may pull")];
    assert!(access(&anonymous).unwrap().rules.are_for_anonymous());

    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("htpasswd"), "").unwrap();
    let passed = ("CREDENTIALS_DIRECTORY", directory.path().to_str().unwrap());
    let of_systemd = access(&[passed]).unwrap();
    assert_eq!(of_systemd.htpasswd, Some(directory.path().join("htpasswd")));
    assert_eq!(of_systemd.tokens, None);
    let set = access(&[passed, ("NIXERY_ACCESS_HTPASSWD", "/other")]).unwrap();
    assert_eq!(set.htpasswd, Some("/other".into()));
}

#[test]
fn rules_mean_the_same_in_a_variable_and_in_the_file() {
    let variables = [
        ("NIXERY_ACCESS_HTPASSWD", "/htpasswd"),
        ("NIXERY_ACCESS_URL", "http://localhost:8080"),
        ("NIXERY_ACCESS_RULES", "anonymous may pull; ann,bob may build git, corp.*\n* may build;"),
    ];
    let by_variable = Config::load(None, &with(&variables)).unwrap();
    let (_directory, file) = toml(
        "[access]\nhtpasswd = \"/htpasswd\"\nurl = \"http://localhost:8080\"\nrules = [\n  \"anonymous may pull\",\n  \"ann bob may build git \
         corp.*\",\n  \"* may build\",\n]\n",
    );
    let by_file = Config::load(Some(&file), &with(&[])).unwrap();
    assert_eq!(by_variable.to_toml(), by_file.to_toml());
    assert_eq!(by_file.access.unwrap().rules.iter().count(), 3);
}
