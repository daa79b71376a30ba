# Fetches a package source. This alone is evaluated when the whole evaluation
# has failed, to tell a source that cannot be had from packages that cannot be
# evaluated.
#
# `source` is JSON, made by source.sh:
#   { "type": "channel", "url": … }                      a tarball
#   { "type": "git", "url": …, "rev": …, "ref": …|null }  ref null: any reference
#   { "type": "path", "path": … }
{ source }:
let
  spec = builtins.fromJSON source;

  fetch = {
    channel =
      { url, ... }:
      builtins.fetchTarball {
        name = "source";
        inherit url;
      };

    git =
      {
        url,
        rev,
        ref,
        ...
      }:
      (builtins.fetchGit (
        {
          name = "source";
          inherit url rev;
        }
        # A shallow fetch has only what the references point at, so it would
        # miss an older commit if it were asked for all of them.
        // (
          if ref == null then
            { allRefs = true; }
          else
            {
              inherit ref;
              shallow = true;
            }
        )
      )).outPath;

    path = { path, ... }: path;
  };

  path = fetch.${spec.type} spec;
in
{
  inherit path;
  # A source may be a single file as well.
  has_default = builtins.pathExists (path + "/default.nix") || !builtins.pathExists (path + "/.");
}
