# What the VM checks share: a machine without a network that serves nixpkgs, and how their
# scripts begin.
{ pkgs, module }:
let
  inherit (pkgs) lib;

  # What the images of the checks are made of. All of it is in the machine's store, so Nix
  # evaluates nixpkgs there and finds that nothing has to be fetched or built.
  contents = lib.attrVals [
    "bashInteractive"
    "cacert"
    "coreutils"
    "iana-etc"
    "jq"
    "moreutils"
    "nano"
  ] pkgs;
in
{
  machine = {
    imports = [ module ];
    virtualisation = {
      additionalPaths = contents ++ [ pkgs.path ];
      diskSize = 4096;
      memorySize = 3072;
      writableStore = true;
    };
    nix.settings.substituters = lib.mkForce [ ];
    services.nixery = {
      enable = true;
      settings.source.path = "${pkgs.path}";
      settings.nix.timeout = 600;
    };
  };

  # Nix evaluates nixpkgs once; without that, a client's own time limit may be shorter.
  start = ''
    start_all()
    machine.wait_for_unit("nixery.service")
    machine.succeed("curl -fsS http://localhost:8080/readyz")
    machine.succeed("curl -fsS --max-time 600 http://localhost:8080/v2/shell/jq/manifests/latest")
  '';
}
