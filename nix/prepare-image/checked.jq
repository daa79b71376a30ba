# What resolve.nix says, where packages whose places are none of the Nix store are no
# packages. A package set may say anything there, and what it says becomes arguments of
# the Nix commands: one that is no store path would be an option of theirs, or code that
# they evaluate without any restriction.
#
# `\A` and `\z` rather than `^` and `$`, which also match around a newline.

def like(pattern): type == "string" and test("\\A(?:" + pattern + ")\\z");

# A store path is in the store itself, and not deeper: 32 digits of Nix's base 32, a
# dash, and a name of at most 211 characters (Nix manual, "Store Path").
def in_store($store; ending):
  type == "string" and startswith($store + "/")
  and (.[($store | length) + 1:]
    | length <= 32 + 1 + 211 and like("[0-9a-df-np-sv-z]{32}-[0-9A-Za-z+._?=-]+" + ending));

def fault($store):
  if .path | in_store($store; "") | not then "its outPath is not a path of the Nix store"
  elif .derivation != null and (.derivation | in_store($store; "\\.drv") | not) then
    "its drvPath is not a derivation in the Nix store"
  elif .output | like("[0-9A-Za-z+._?=-]+") | not then "its outputName is not the name of an output"
  else null
  end;

.store as $store
| .packages |= map(
    (if .status == "ok" then fault($store) else null end) as $fault
    | if $fault == null then . else { status: "not_a_package", request, reason: $fault } end
  )
