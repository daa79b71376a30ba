# Checks a request (an array of the JSON documents on standard input) and prints
# it as lines of `key=value`, or one line `invalid=why`. No value has a newline:
# what is not plain text is JSON.
#
# `\A` and `\z` rather than `^` and `$`, which also match around a newline.

def like(pattern): type == "string" and test("\\A(?:" + pattern + ")\\z");
def plain: type == "string" and length > 0 and (test("[\\x00-\\x1f\\x7f]") | not);
def shown: tojson | if length > 120 then .[:117] + "…" else . end;

def need(condition; message): if condition then . else error(message) end;

def only(allowed; where):
  (keys_unsorted - allowed) as $unknown
  | need($unknown == []; "unknown field \($unknown[0] | shown)\(where)");

def revision: like("[0-9a-f]{40}");

# No "..", "@{" or trailing ".lock": what git forbids in a reference.
def reference:
  like("[A-Za-z0-9_][A-Za-z0-9_./+-]*") and (test("\\.\\.|//|/\\.|[./]\\z|\\.lock(/|\\z)") | not);

def channel:
  only(["type", "channel", "base_url", "repository"]; " in a channel source")
  # Tarballs from elsewhere have a repository only where one is named.
  | .repository //= (if .base_url == null then "https://github.com/NixOS/nixpkgs" else null end)
  | .base_url //= "https://github.com/NixOS/nixpkgs/archive"
  | need(.channel | like("[A-Za-z0-9_][A-Za-z0-9_.-]*");
      "source.channel must be a branch of nixpkgs or a full commit, not \(.channel | shown)")
  | need(.base_url | like("(https?|file)://[^\\s\\x00-\\x1f]+");
      "source.base_url must be an http, https or file URL, not \(.base_url | shown)")
  | need(.repository == null or (.repository | plain and (startswith("-") | not));
      "source.repository must be a git URL, not \(.repository | shown)");

def git:
  only(["type", "url", "reference", "revision"]; " in a git source")
  | .reference //= null
  | .revision //= null
  | need(.url | plain and (startswith("-") | not); "source.url must be a git URL, not \(.url | shown)")
  | need(.reference == null or (.reference | reference);
      "source.reference must be a branch or a tag, not \(.reference | shown)")
  | need(.revision == null or (.revision | revision);
      "source.revision must be 40 lower-case hexadecimal digits, not \(.revision | shown)");

def path:
  only(["type", "path"]; " in a path source")
  | need((.path | plain) and (.path | startswith("/"));
      "source.path must be an absolute path, not \(.path | shown)");

def source:
  need(type == "object"; "source must be an object")
  | if .type == "channel" then channel
    elif .type == "git" then git
    elif .type == "path" then path
    else error("source.type must be \"channel\", \"git\" or \"path\", not \(.type | shown)")
    end;

def package:
  need(like("[a-zA-Z0-9_][a-zA-Z0-9_+-]*(\\.[a-zA-Z0-9_][a-zA-Z0-9_+-]*)*") and length <= 255;
    "\(shown) is not the name of a package");

def option:
  need(.key | like("[a-z0-9-]+") and (startswith("-") | not); "\(.key | shown) is not the name of a Nix option")
  | need(.value | type == "string" and (test("[\\x00-\\x1f]") | not);
      "the value of option \(.key | shown) must be a string of one line");

def store_path:
  need(like("/([^/\\x00-\\x20]+/)+[0-9a-z]{32}-[0-9A-Za-z+._?=-]+") and (test("/\\.\\.?/") | not);
    "\(shown) is not a store path");

def options:
  .options //= {}
  | need(.options | type == "object"; "options must be an object")
  | .options |= with_entries(option);

# What may be fetched and read besides the source: beginnings of URLs, and paths.
def allowed_uri:
  need(like("(/|[a-z][A-Za-z0-9+.-]*:)[^\\s\\x00-\\x1f\\x7f]*");
    "evaluation.allowed_uris must have beginnings of URLs and absolute paths, not \(shown)");

def evaluation:
  .evaluation //= {}
  | need(.evaluation | type == "object"; "evaluation must be an object")
  | .evaluation |= (
      only(["restricted", "allowed_uris", "import_from_derivation"]; " in evaluation")
      | .restricted //= false
      | .allowed_uris //= []
      # False is not the same as nothing here, as it is for //.
      | .import_from_derivation |= (if . == null then true else . end)
      | need((.restricted, .import_from_derivation) | type == "boolean";
          "evaluation.restricted and evaluation.import_from_derivation must be true or false")
      | need(.allowed_uris | type == "array"; "evaluation.allowed_uris must be a list")
      | .allowed_uris |= map(allowed_uri)
    );

# What an evaluation needs to know.
def evaluated:
  .config //= null
  | .source |= source
  | need(.system | like("[a-z0-9_]+-[a-z0-9_]+"); "system must be like \"x86_64-linux\", not \(.system | shown)")
  | need(.config == null or (.config | type == "object"); "config must be an object")
  | need(.config | tojson | utf8bytelength <= 100000; "config is too long")
  | evaluation;

def roots:
  need((.roots | plain) and (.roots | startswith("/")); "roots must be an absolute path, not \(.roots | shown)");

# Store paths instead of packages.
def paths_request:
  only(["protocol", "paths", "options", "roots"]; " in a request for paths")
  | need(.paths | type == "array"; "paths must be a list")
  | .paths |= map(store_path)
  | options
  | roots;

# A list of names. It is one argument of a program, which Linux limits to 128 KiB.
def names_of(field; $name):
  need(field | type == "array"; "\($name) must be a list")
  | field |= map(package)
  | need(field | tojson | length <= 100000; "there are too many packages");

# The names of a set instead of packages. Nothing is realised, so there is nothing to root.
def names_request:
  only(["protocol", "source", "system", "names_in", "config", "options", "evaluation"]; " in a request for names")
  | evaluated
  | .names_in |= if . == "" then . else package end
  | options;

# What names are, instead of packages.
def kinds_request:
  only(["protocol", "source", "system", "kinds_of", "config", "options", "evaluation"]; " in a request for kinds")
  | evaluated
  | names_of(.kinds_of; "kinds_of")
  | options;

def packages_request:
  only(["protocol", "source", "system", "packages", "config", "options", "evaluation", "roots"]; "")
  | evaluated
  | names_of(.packages; "packages")
  | options
  | roots;

def request:
  need(type == "object"; "the request must be a JSON object")
  | need(.protocol == 1; "protocol must be 1, not \(.protocol | shown)")
  | if has("paths") then paths_request
    elif has("names_in") then names_request
    elif has("kinds_of") then kinds_request
    else packages_request
    end;

# What load.nix fetches; for git that takes asking first.
def fetched:
  if .type == "channel" then { type, url: "\(.base_url | sub("/+\\z"; ""))/\(.channel).tar.gz" }
  elif .type == "path" then .
  else null
  end;

def lines:
  if has("paths") then { paths: (.paths | join(" ")), roots }
  else
    { source: (.source | fetched | tojson), system, config: (.config | tojson) }
    + (if has("names_in") then { names_in: (.names_in | tojson) }
       elif has("kinds_of") then { kinds_of: (.kinds_of | tojson) }
       else { packages: (.packages | tojson), roots }
       end)
    + (.evaluation | {
        restricted: (if .restricted then "1" else null end),
        no_import_from_derivation: (if .import_from_derivation then null else "1" end),
        allowed_uris: (.allowed_uris | join(" "))
      })
    + .source
  end
  + (.options | with_entries(.key |= "option " + .))
  | to_entries[] | select(.value != null) | "\(.key)=\(.value)";

if length != 1 then "invalid=standard input must have exactly one JSON document, not \(length)"
else try (.[0] | request | [lines] | .[]) catch "invalid=\(.)"
end
