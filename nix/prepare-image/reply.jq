# The reply, from $resolved (what resolve.nix says) and $path_info, which has one
# of three shapes, depending on the version of Nix:
#   [{ "path": "/nix/store/…", … }]
#   { "/nix/store/…": { … } }
#   { "info": { "<base name>": { … } }, "storeDir": "/nix/store" }, with base
#     names as references

def entries:
  if type == "array" then .[]
  elif has("info") and has("storeDir") then
    (.storeDir + "/") as $store
    | .info | to_entries[]
    | .value + { path: ($store + .key), references: (.value.references | map($store + .)) }
  else to_entries[] | .value + { path: .key }
  end;

def node:
  .path as $path
  | { path: $path, nar_size: .narSize, references: (.references | map(select(. != $path)) | unique) };

{
  protocol: $protocol,
  revision: $revision,
  packages: ($resolved[0].packages | map({
    attribute, request, name, pname, version, license, description, main_program, path
  })),
  graph: ([$path_info[0] | entries | node] | sort_by(.path))
}
