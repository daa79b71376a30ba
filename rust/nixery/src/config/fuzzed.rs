//! Configuration as anybody may write it.

use super::settings::{Kind, SETTINGS};
use super::*;
use crate::fuzz::parser;

fn read(toml: &str, environment: &Environment) -> Option<Config> {
    let file = Some(("nixery.toml".into(), toml.to_owned()));
    let layers = Layers::of(file, environment).and_then(|layers| Config::of(&layers, environment));
    layers.map_err(|error| error.to_string()).ok()
}

fn state_directory() -> Environment {
    [("STATE_DIRECTORY", "/s")].into_iter().collect()
}

/// What was accepted is printed, and that is read as the same: of one in eight, as it
/// takes long.
fn prints_the_same(input: &[u8], config: Option<Config>) {
    let Some(config) = config.filter(|_| input.len().is_multiple_of(8)) else { return };
    let printed = config.to_toml();
    let Some(again) = read(&printed, &state_directory()) else {
        panic!("this is refused when it is read again:\n{printed}");
    };
    assert_eq!(again.to_toml(), printed);
}

#[test]
fn files() {
    let seeds = [
        "[source]\nchannel = \"nixos-unstable\"\nrefresh = 60\nchannels = [\"nixos-*\", \"2?.05\"]\n",
        "[source]\nrepo = \"https://me:secret@example.org/p?a#b\"\nallow_commits = true\n\n[server]\n\
         address = \"::1\"\nport = 81\n[log]\nfilter = \"info,nixery=debug\"\nformat = \"json\"\n",
        "source = { path = '/p' }\nstorage = { backend = \"gcs\" }\n[gcs]\nbucket = \"images\"\n\
         endpoint = \"http://localhost:1/x\"\nanonymous = true\nsign = \"none\"\n",
        "[source]\npath = \"/p\"\n[nix]\ntimeout = 5\nmax_builds = 3\npopularity_url = \"file:///x\"\n\
         [image]\nplatform = \"arm64\"\n[packing]\nlevel = 9\n[gc]\ninterval = 3600\nmax_bytes = 9\n",
    ];
    let keys = SETTINGS.iter().map(|setting| format!("{} = ", setting.key));
    let words = ["\"\"\"", "'''", "[[", "]]", "# ", "1979-05-27T07:32:00Z", "a.a.a", "inf"];
    let words = words.map(str::to_owned).into_iter().chain(keys);
    parser("configuration files", seeds)
        .words(words)
        .factor(256)
        .quick(300)
        .run(|input| read(std::str::from_utf8(input).ok()?, &state_directory()), prints_the_same);
}

/// Lines of `NAME=VALUE`.
#[test]
fn environments() {
    let values = SETTINGS.iter().map(|setting| match setting.kind {
        Kind::Text => format!("{}=/x\n", setting.variable),
        Kind::Number => format!("{}=7\n", setting.variable),
        Kind::Flag => format!("{}=true\n", setting.variable),
        Kind::List => format!("{}=a*, b\n", setting.variable),
        Kind::Sentences => format!("{}=* may build; ann may pull\n", setting.variable),
    });
    let words: Vec<String> = values.collect();
    let seeds = [
        "NIXERY_CHANNEL=nixos-unstable\nPORT=81\nNIX_TIMEOUT=5\nNIXERY_SOURCE_CHANNELS=nixos-*,x\n",
        "NIXERY_PKGS_REPO=git@example.org:p.git\nHOME=/h\nNIXERY_GC_INTERVAL=99\nXDG_STATE_HOME=/x\n",
        "NIXERY_PKGS_PATH=/p\nNIXERY_STORAGE_BACKEND=gcs\nGCS_BUCKET=images\nGCS_SIGNING_KEY=/k\n\
         GCS_SIGNING_ACCOUNT=me@example.org\nGOOGLE_APPLICATION_CREDENTIALS=/a.json\n",
    ];
    parser("environments", seeds).words(words).factor(256).quick(300).run(
        |input| {
            // As a process's own are: what isn't UTF-8 is refused.
            let text = String::from_utf8_lossy(input);
            let variables = text.lines().filter_map(|line| line.split_once('='));
            let variables = variables.chain([("STATE_DIRECTORY", "/s")]);
            let environment = variables.collect::<Environment>();
            let layers = Layers::of(None, &environment);
            let config = layers.and_then(|layers| Config::of(&layers, &environment));
            config.map_err(|error| error.to_string()).ok()
        },
        prints_the_same,
    );
}
