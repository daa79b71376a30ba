# What a unit needs besides being unpacked: shell code that build.sh runs last,
# by the unit's name. `wrap`, `set_default` and `append` are build.sh's.
units:
let
  # ncurses looks in /etc and /usr only. Debian moved the folder after 12.
  wrapForTerminal =
    program:
    let
      terminfo = units.ncurses-base;
    in
    ''
      wrap ${program} "$(append TERMINFO_DIRS "${terminfo}/lib/terminfo:${terminfo}/share/terminfo")"
    '';
in
{
  # Debian's `sh` is dash. The bug reporter is a script below the shell.
  bash = ''
    [ -e "$out/bin/sh" ] || ln -s bash "$out/bin/sh"
    rm -f "$out/bin/bashbug"
  '';

  # Both names that programs look for; update-ca-certificates makes the second
  # one on a Debian system, and its script would pull in a shell.
  ca-certificates = ''
    rm -r "$out/bin"
    mkdir -p "$out/etc/ssl/certs"
    cat "$out"/share/ca-certificates/mozilla/*.crt >"$out/etc/ssl/certs/ca-bundle.crt"
    ln -s ca-bundle.crt "$out/etc/ssl/certs/ca-certificates.crt"
  '';

  # `awk` comes from Debian's alternatives.
  gawk = ''
    ln -s gawk "$out/bin/awk"
  '';

  # The library takes no certificates from SSL_CERT_FILE, unlike curl.
  git = ''
    wrap git \
      "$(set_default GIT_EXEC_PATH "$out/lib/git-core")" \
      "$(set_default GIT_TEMPLATE_DIR "$out/share/git-core/templates")" \
      "$(append PERL5LIB "$out/share/perl5''${perl_path:+:$perl_path}")" \
      '[ -z "''${SSL_CERT_FILE-}" ] || export GIT_SSL_CAINFO="''${GIT_SSL_CAINFO-$SSL_CERT_FILE}"'
  '';

  # Scripts that convert data: they would need perl.
  geoip-bin = ''
    rm -rf "$out/lib/geoip"
  '';

  htop = wrapForTerminal "htop";

  # Its scripts (ldd, tzselect) would need the shell, which needs this.
  libc6 = ''
    rm -r "$out/bin"
  '';

  nano = wrapForTerminal "nano";

  # The module paths are compiled in as /usr/…
  perl = ''
    rm -f "$out"/bin/*5.[0-9]*
    wrap perl "$(append PERL5LIB "$(echo "$out"/share/perl/5.*.* "$out/lib/$multiarch"/perl/5.*.* "$out/lib/$multiarch/perl-base" | tr ' ' :)")"
  '';

  # Debian made it return the host's certificates.
  python3-certifi = ''
    sed -i 's|/etc/ssl/certs/ca-certificates.crt|${units.ca-certificates}&|' \
      "$out/lib/python3/dist-packages/certifi/core.py"
  '';
}
