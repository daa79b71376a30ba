# The root file system of Nixery's own image without nixpkgs: what nix/image/root.nix says,
# of the offline package set and a server that was built outside of Nix.
{
  # Directory with the offline package set and more-packages.txt.
  set,
  # The server.
  server,
}:
let
  packages = import set { };
  path = "/usr/bin:/bin";

  # Made by the machine's own tools. The shell is the last to end: it would become the last
  # command, and Nix kills a builder that has closed its output, which those of coreutils do
  # a moment before they end.
  make =
    name: environment: commands:
    derivation (
      {
        inherit name;
        system = builtins.currentSystem;
        builder = "/bin/bash";
        args = [
          "-euc"
          (commands + "\nexit 0\n")
        ];
        PATH = path;
      }
      // environment
    );

  write =
    mode: file: text:
    make "nixery-image-${baseNameOf file}"
      {
        inherit text mode file;
        passAsFile = [ "text" ];
      }
      ''
        install -D -m "$mode" "$textPath" "$out/$file"
      '';

  # As nix/prepare-image/default.nix has it.
  nixery-prepare-image =
    make "nixery-prepare-image-1"
      {
        src = ../nix/prepare-image;
        inherit (packages) bash nix;
        tools = map (package: "${package}/bin") (
          with packages;
          [
            bash
            coreutils
            gawk
            git
            gnugrep
            gnused
            gnutar
            gzip
            jq
            openssh
          ]
        );
      }
      ''
        mkdir -p "$out/bin" "$out/libexec"
        cp -r --no-preserve=mode "$src" "$out/libexec/nixery-prepare-image"
        program=$out/libexec/nixery-prepare-image/nixery-prepare-image
        sed -i "1c #!$bash/bin/bash" "$program"
        cat >"$out/bin/nixery-prepare-image" <<END
        #!$bash/bin/bash
        PATH=''${tools// /:}:\$PATH:$nix/bin exec $program "\$@"
        END
        chmod +x "$program" "$out/bin/nixery-prepare-image"
      '';

  # As nix/package.nix has it; linked to the set's C library in place of the machine's.
  nixery =
    make "nixery"
      {
        server = builtins.path {
          path = server;
          name = "server";
        };
        prepareImage = nixery-prepare-image;
        inherit (packages) bash glibc;
      }
      ''
        mkdir -p "$out/bin"
        cp --no-preserve=mode "$server" "$out/bin/.nixery-wrapped"
        libraries=$(echo "$glibc"/lib/*-linux-gnu)
        patchelf --set-interpreter "$(echo "$libraries"/ld-linux-*.so.*)" \
          --force-rpath --set-rpath "$libraries" "$out/bin/.nixery-wrapped"
        cat >"$out/bin/nixery" <<END
        #!$bash/bin/bash
        PATH=$prepareImage/bin:\$PATH exec -a "\$0" $out/bin/.nixery-wrapped "\$@"
        END
        chmod +x "$out"/bin/{.nixery-wrapped,nixery}
      ''
    // {
      inherit ((builtins.fromTOML (builtins.readFile ../Cargo.toml)).workspace.package) version;
    };

  # Where Debian's Nix looks for its own programs; nixpkgs' has the store path.
  nix-libexec = make "nix-libexec" { inherit (packages) nix; } ''
    mkdir -p "$out/usr/libexec"
    ln -s "$nix/libexec/nix" "$out/usr/libexec/nix"
  '';

  root =
    preLaunch:
    let
      it = import ../nix/image/root.nix {
        inherit (packages)
          bashInteractive
          cacert
          catatonit
          coreutils
          git
          gnutar
          gzip
          iana-etc
          nix
          openssh
          xz
          ;
        inherit nixery preLaunch;
        # The builds of the offline package set use the machine's own tools.
        extraPackages = [
          nix-libexec
          packages.dpkg
          packages.findutils
          packages.gnused
          packages.patchelf
        ];
      };
      files = mode: builtins.mapAttrs (write mode);
    in
    {
      inherit (it) commands config;
      contents =
        it.packages
        ++ builtins.attrValues (files "644" it.files)
        ++ builtins.attrValues (files "755" it.programs);
    };
in
{
  plain = root "";
  hook = root ''
    greeting="a hook"
    echo "$greeting was run" > /tmp/greeting
    export PORT=$OTHER_PORT
  '';
  failing = root ''
    echo "this hook fails" >&2
    false
    echo "and the server is started" >&2
  '';
}
