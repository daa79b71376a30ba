# The flake's checks.
{
  pkgs,
  ours,
  module,
}:
let
  inherit (pkgs) lib;
  vm = file: import file { inherit pkgs module; };

  source = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.fileFilter (
      file:
      file.hasExt "nix"
      || file.hasExt "sh"
      || file.hasExt "rs"
      || file.hasExt "toml"
      || file.name == "Cargo.lock"
      || file.name == "run"
      || file.name == "nixery-prepare-image"
      || file.name == ".shellcheckrc"
    ) ../.;
  };

  # A command over the sources, which fails or not.
  lint =
    name: packages: command:
    pkgs.runCommand "nixery-${name}" { nativeBuildInputs = packages; } ''
      cd ${source}
      ${command}
      touch $out
    '';

  nix-files = "$(find . -name '*.nix')";
  evaluated = import ./module-eval.nix { inherit lib; };
in
{
  inherit (ours)
    nixery
    nixery-prepare-image
    nixery-popcount
    nixery-book
    ;

  nixos-docker = vm ./nixos-docker.nix;
  nixos-podman-containerd = vm ./nixos-podman-containerd.nix;
  nixos-gcs = vm ./nixos-gcs.nix;
  nixos-image = import ./nixos-image.nix {
    inherit pkgs;
    image = ours.nixery-image;
  };

  # It doesn't evaluate where an assertion fails otherwise than it should, or a unit has
  # changed.
  module-eval = pkgs.runCommand "nixery-module-eval" { } (
    lib.throwIfNot (evaluated.wrong == [ ]) "module-eval: ${
      lib.generators.toPretty { } evaluated.wrong
    }" "touch $out"
  );

  clippy = ours.nixery.unwrapped.overrideAttrs (before: {
    pname = "nixery-clippy";
    nativeBuildInputs = before.nativeBuildInputs ++ [ pkgs.clippy ];
    buildPhase = "${lib.getExe pkgs.cargo} clippy --workspace --all-targets --offline -- -D warnings";
    doCheck = false;
    installPhase = "touch $out";
  });
  # Advisories are on a server, which the sandbox can't reach.
  cargo-deny = ours.nixery.unwrapped.overrideAttrs (before: {
    pname = "nixery-cargo-deny";
    src = source;
    nativeBuildInputs = before.nativeBuildInputs ++ [ pkgs.cargo-deny ];
    buildPhase = "${lib.getExe pkgs.cargo-deny} --offline check bans licenses sources";
    doCheck = false;
    installPhase = "touch $out";
  });
  book-links = pkgs.testers.lycheeLinkCheck {
    site = ours.nixery-book;
    # Its <base href="/"> means the root of a web server.
    extraConfig.exclude_path = [ ".*/404\\.html" ];
  };
  rustfmt = lint "rustfmt" [
    pkgs.cargo
    pkgs.rustfmt
  ] "cargo fmt --all --check";
  nixfmt = lint "nixfmt" [ pkgs.nixfmt ] "nixfmt --check ${nix-files}";
  statix = lint "statix" [ pkgs.statix ] "statix check .";
  deadnix = lint "deadnix" [ pkgs.deadnix ] "deadnix --fail .";
  shellcheck =
    lint "shellcheck"
      [
        pkgs.shellcheck
      ]
      "shellcheck -x $(find . -name '*.sh') checks/gcs-emulator/run nix/prepare-image/nixery-prepare-image";
}
