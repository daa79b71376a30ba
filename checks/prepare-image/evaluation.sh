# shellcheck shell=bash
# shellcheck disable=SC2016 # text in single quotes is jq or Nix
# shellcheck disable=SC2034,SC2154 # variables of prepare-image.sh and its other parts
# What an evaluation may do, and what a set says that lies.

mkdir -p "$work"/{secrets,real,evil}
echo '"secret"' >"$work/secrets/default.nix"
echo '"allowed"' >"$work/real/default.nix"
ln -s "$work/real" "$work/allowed"
ln -s "$work/secrets" "$work/evil/link"
ln -s "$work/evil" "$work/evil-link"
cp "$work/set/package.nix" "$work/evil"
cat >"$work/evil/default.nix" <<END
{ system, ... }:
let
  package = name: text: import ./package.nix system name "echo \$text >\$out" { inherit text; };
in
{
  it = package "it-1" "\${./package.nix}";
  read = package "read-1" (builtins.readFile $work/secrets/default.nix);
  import = package "import-1" (import $work/secrets);
  link = package "link-1" (import ./link);
  up = package "up-1" (import ../secrets);
  copied = package "copied-1" "\${$work/secrets}";
  listed = package "listed-1" (toString (builtins.attrNames (builtins.readDir $work/secrets)));
  git = package "git-1" (builtins.fetchGit "file://$work/repositories/other").outPath;
  url = package "url-1" (builtins.readFile (builtins.fetchurl "file://$work/secrets/default.nix"));
  web = package "web-1" (builtins.fetchTarball "http://127.0.0.1:9/a.tar.gz");
  environ = package "environ-1" (builtins.readFile /proc/self/environ);
  variables = package "variables-\${builtins.getEnv "HOME"}" "";
  exists = package "exists-\${if builtins.pathExists $work/secrets then "yes" else "no"}" "";
  allowed = package "allowed-1" (import $work/allowed);
  built = package "built-1" (builtins.readFile (package "first-1" "first"));
}
END
make_set "$work/repositories/other"
git init -q "$work/repositories/other"
git -C "$work/repositories/other" add . \
  && git -C "$work/repositories/other" -c user.name=a -c user.email=a@example.org commit -qm one >/dev/null

ask_evil() { ask_source "$(path_source "$work/evil")" "$@"; }
evaluation=$restricted
ask_evil it
prepares "restricted: a set that reads itself"
ask_source "$(path_source "$work/evil-link")" it
prepares "… through a link"
for name in read import link up copied listed git url web environ allowed; do
  ask_evil "$name"
  refuses evaluation_failed "restricted: what reads or fetches something else ($name)" \
    '.error.message | contains("restricted mode")'
done
ask_evil built
refuses evaluation_failed "no import from derivation" '.error.message | contains("import")'
ask_evil variables exists
prepares "restricted: no environment variables, nor what there is" \
  '[.packages[].name] == ["variables-", "exists-no"]'
evaluation=$(jq -c --arg path "$work" \
  '.allowed_uris = [$path + "/allowed", "file://" + $path + "/repositories/"]' <<<"$restricted")
ask_evil it allowed git
prepares "what is allowed can be read and fetched"
ask_evil allowed read
refuses evaluation_failed "… and nothing else" '.error.name == "read"'
evaluation='{ "import_from_derivation": false }'
ask_evil read up git
prepares "it is the restriction that forbids it"
ask_evil built
refuses evaluation_failed "import from derivation is forbidden apart from that"
evaluation=null
ask_evil built
prepares "… and allowed if nothing is said"
NIX_CONFIG="$NIX_CONFIG
restrict-eval = true" ask_evil read
refuses source_unavailable "what Nix's configuration forbids stays forbidden"
NIX_CONFIG="$NIX_CONFIG
allow-import-from-derivation = false"
evaluation='{ "import_from_derivation": true }'
ask_evil built
refuses evaluation_failed "… also where it would be allowed"
NIX_CONFIG=${NIX_CONFIG%$'\n'*}

# What a set says of its packages' places would be arguments of the Nix commands: they
# once made Nix evaluate, without any restriction, what runs this command.
mkdir -p "$work/liar"
cp "$work/set/package.nix" "$work/liar"
cat >"$work/liar/default.nix" <<END
{ system, ... }:
let
  package = import ./package.nix system;
  real = package "real-1" "for it in \$a \$b \$c \$d \$e \$f; do echo \$it >\$it; done" { outputs = [ "a" "b" "c" "d" "e" "f" ]; };
  said = outputName: outPath: { type = "derivation"; name = "liar-1"; inherit (real) drvPath; inherit outputName outPath; };
  inherit (builtins) storeDir stringLength substring;
  ofReal = text: storeDir + "/" + text;
  base = substring (stringLength storeDir + 1) 500 real.outPath;
  letters = n: if n == 0 then "" else "a" + letters (n - 1);
in
{
  inherit real;
  a = said "a" "--option";
  b = said "b" "allow-unsafe-native-code-during-evaluation";
  c = said "c" "true";
  d = said "d" "--impure";
  e = said "e" "--expr";
  f = said "f" "builtins.exec [ \"/bin/sh\" \"-c\" \"echo >$work/was-run; echo {}\" ]";
  none = { type = "derivation"; name = "liar-1"; outPath = "--version"; };
  outside = said "a" "$work/\${base}";
  above = said "a" (ofReal "../\${base}");
  below = said "a" (real.outPath + "/bin");
  store = said "a" storeDir;
  several = said "a" "\${real.outPath}\n--expr";
  output = said "a" "\${real.outPath}!out";
  digits = said "a" (ofReal "\${letters 31}e-liar");
  long = said "a" (ofReal "\${letters 32}-\${letters 212}");
  number = said "a" 3;
  drvOption = said "a" real.outPath // { drvPath = "--version"; };
  drvOutput = said "a" real.outPath // { drvPath = real.outPath; };
  drvOutside = said "a" real.outPath // { drvPath = "$work/\${letters 32}-liar.drv"; };
  drvSpace = said "a" real.outPath // { drvPath = ofReal "\${letters 32}-a liar.drv"; };
  outputOption = said "a --version" real.outPath;
  outputEmpty = said "" real.outPath;
  outputLine = said "a\n" real.outPath;
  outputAll = said "*" real.outPath;
  outputNumber = said 3 real.outPath;
}
END
ask_liar() { ask_source "$(path_source "$work/liar")" "$@"; }
for evaluation in null "$restricted"; do
  ask_liar real
  prepares "a package says where it is ($evaluation)" '.graph | length == 1'
  ask_liar a b c d e f
  refuses not_a_package "options in the place of store paths" '.error.name == "a" and (.error.reason | test("outPath"))'
  check "… and nothing is run" test ! -e "$work/was-run"
  for name in none outside above below store several output digits long number; do
    ask_liar real "$name"
    refuses not_a_package "what is no store path ($name)" ".error.name == \"$name\" and (.error.reason | test(\"outPath\"))"
  done
  for name in drvOption drvOutput drvOutside drvSpace; do
    ask_liar "$name"
    refuses not_a_package "what is no derivation ($name)" '.error.reason | test("drvPath")'
  done
  for name in outputOption outputEmpty outputLine outputAll outputNumber; do
    ask_liar "$name"
    refuses not_a_package "what is no output ($name)" '.error.reason | test("outputName")'
  done
done
evaluation=null
