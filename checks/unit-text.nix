# The text of systemd's units, as NixOS would write it, from the module's options.
{ lib }:
let
  scalar = value: if lib.isBool value then lib.boolToString value else toString value;
  lines =
    settings:
    lib.concatLists (
      lib.mapAttrsToList (key: value: map (one: "${key}=${scalar one}") (lib.toList value)) settings
    );
  section =
    name: settings:
    lib.optional (settings != [ ]) (
      lib.concatMapStrings (line: line + "\n") ([ "[${name}]" ] ++ settings)
    );
  words = name: list: lib.optional (list != [ ]) "${name}=${lib.concatStringsSep " " list}";

  unit =
    one:
    lines (
      {
        Description = one.description;
      }
      // lib.optionalAttrs (one ? startLimitIntervalSec) {
        StartLimitIntervalSec = one.startLimitIntervalSec;
      }
    )
    ++ words "After" (one.after or [ ])
    ++ words "Documentation" (one.documentation or [ ])
    ++ words "Requires" (one.requires or [ ])
    ++ words "Wants" (one.wants or [ ]);
  install = one: words "WantedBy" (one.wantedBy or [ ]);
  together = lib.concatStringsSep "\n";

  # What NixOS puts on every unit's PATH is in Debian's directories.
  path =
    packages: lib.concatStringsSep ":" (map (package: "${package}/bin") packages ++ [ "/usr/bin" ]);

  service =
    one:
    together (
      section "Unit" (unit one)
      ++ section "Service" (
        lib.mapAttrsToList (name: value: ''Environment="${name}=${value}"'') (
          one.environment or { } // { PATH = path (one.path or [ ]); }
        )
        ++ lines one.serviceConfig
      )
      ++ section "Install" (install one)
    );
  socket =
    one:
    together (
      section "Unit" (unit one)
      ++ section "Socket" (
        map (stream: "ListenStream=${stream}") one.listenStreams ++ lines (one.socketConfig or { })
      )
      ++ section "Install" (install one)
    );
  timer =
    one:
    together (
      section "Unit" (unit one)
      ++ section "Timer" (lines one.timerConfig)
      ++ section "Install" (install one)
    );
  named =
    ending: render: lib.mapAttrs' (name: one: lib.nameValuePair "${name}.${ending}" (render one));
in
# The units of an evaluated configuration → file name → text.
{
  services,
  sockets,
  timers,
  ...
}:
named "service" service services // named "socket" socket sockets // named "timer" timer timers
