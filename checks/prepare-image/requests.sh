# shellcheck shell=bash
# shellcheck disable=SC2016 # text in single quotes is jq or Nix
# shellcheck disable=SC2034,SC2154 # variables of prepare-image.sh and its other parts
# Requests that are refused.

while IFS=$'\t' read -r what change; do
  ask "$(jq -c "$change" <<<"$good")"
  refuses invalid_request "request: $what"
done <<'END'
no protocol	del(.protocol)
another protocol	.protocol = 2
an unknown field	.sources = 1
an evaluation that is no object	.evaluation = true
an unknown field in the evaluation	.evaluation.pure = true
a restriction that is no truth value	.evaluation.restricted = "yes"
an allowed URI that is relative	.evaluation.allowed_uris = ["github.com"]
an allowed URI with a blank	.evaluation.allowed_uris = ["https://a b"]
no source	del(.source)
another type of source	.source.type = "flake"
an unknown field in the source	.source.extra = 1
a relative path	.source.path = "set"
a path with a newline	.source.path += "\n"
no system	del(.system)
a system with a quote	.system = "x86_64-linux\""
packages that are no list	.packages = "hello"
a package that is no string	.packages = [1]
relative roots	.roots = "roots"
absent roots	.roots = "/absent/roots"
no roots	del(.roots)
a configuration that is no object	.config = []
an option with a space	.options = { "a b": "c" }
an option with a leading dash	.options = { "-a": "c" }
an option that is no string	.options = { "a": true }
a reference with a leading dash	.source = { type: "git", url: "/a", reference: "--upload-pack=x" }
a reference with two dots	.source = { type: "git", url: "/a", reference: "a..b" }
a reference with a star	.source = { type: "git", url: "/a", reference: "*" }
a short revision	.source = { type: "git", url: "/a", revision: "abc" }
a URL with a leading dash	.source = { type: "git", url: "-u" }
a channel with a slash	.source = { type: "channel", channel: "../../evil" }
paths and packages	.paths = []
paths that are no list	{ protocol, roots, paths: "x" }
a path that is no store path	{ protocol, roots, paths: ["/etc/passwd"] }
a path that leads elsewhere	{ protocol, roots, paths: ["/nix/store/../00000000000000000000000000000000-x"] }
a path that is an option	{ protocol, roots, paths: ["--help"] }
a base URL that is a path	.source = { type: "channel", channel: "a", base_url: "/tmp" }
an array	[.]
END

while IFS= read -r name; do
  ask "$(jq -c --argjson name "$name" '.packages += [$name]' <<<"$good")"
  refuses invalid_request "name: $name"
done <<END
""
"."
"a..b"
".hello"
"hello."
"-hello"
"--help"
"a.-b"
"hello\n"
"hello\nhello"
"hello\""
"\${builtins.abort}"
"hello;touch $work/injected"
"\$(touch $work/injected)"
"\`touch $work/injected\`"
"''\${x}"
"../etc"
"a/b"
"a b"
"hello^out"
"hello!out"
"\u0000"
"é"
END
check "no name was executed" test ! -e "$work/injected"

for text in '' 'hello' '{' '{}{}' '[]' 'null' '"x"'; do
  ask "$text"
  refuses invalid_request "standard input: ${text:-empty}"
done
