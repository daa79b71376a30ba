# Resolves attribute paths to derivations and says what they are.
#
# All arguments but `path` and `catch` are JSON: names from a client are data here, never
# code. Only builtins are used, so that any package set will do.
#
# The result is { store = …; packages = [ … ]; names = { … }; }, with the directory of
# the Nix store. Each package has a `status`:
#   ok             with what the reply says of it, and `derivation` and `output`
#   missing        with `component`, the part that was not found, and `parent`,
#                  the attribute path of the set it was looked for in
#   not_a_package  with `reason`
#   refused        evaluation threw; evaluate it with `catch = false` to hear why
# `names` has the attribute names of every set in which something was missing, and
# `listed` those of the set that `names_in` leads to, or what of that is missing;
# `kinds` says what each name of `kinds_of` is.
{
  source,
  system,
  packages,
  config ? "null",
  names_in ? "null",
  kinds_of ? "[]",
  # Where the source is, if it has been fetched.
  path ? null,
  catch ? true,
}:
let
  inherit (builtins)
    attrNames
    concatLists
    concatStringsSep
    deepSeq
    filter
    foldl'
    fromJSON
    functionArgs
    genList
    hasAttr
    head
    intersectAttrs
    isAttrs
    isFunction
    isList
    isString
    listToAttrs
    map
    match
    parseDrvName
    replaceStrings
    split
    stringLength
    substring
    tryEval
    typeOf
    unsafeDiscardStringContext
    ;

  # The package set

  spec = fromJSON source;
  given = fromJSON config;

  imported = import (if path != null then path else (import ./load.nix { inherit source; }).path);

  # nixpkgs, which a repository or a directory may be as well, reads the user's
  # ~/.config/nixpkgs unless it is given a configuration and overlays.
  isNixpkgs = spec.type == "channel" || (isFunction imported && functionArgs imported ? crossSystem);
  arguments = {
    inherit system;
  }
  // (
    if isNixpkgs then
      {
        config = if given != null then given else { };
        overlays = [ ];
      }
    else if given != null then
      { config = given; }
    else
      { }
  );

  called =
    if !isFunction imported then
      imported
    else if functionArgs imported == { } then
      imported { inherit system; }
    else
      imported (intersectAttrs (functionArgs imported) arguments);

  set =
    if isAttrs called then
      called
    else
      throw "the package source evaluates to ${words (typeOf called)}, not to a set of packages";

  # Looking up

  characters = text: genList (i: substring i 1 text) (stringLength text);
  lower = replaceStrings (characters "ABCDEFGHIJKLMNOPQRSTUVWXYZ") (
    characters "abcdefghijklmnopqrstuvwxyz"
  );

  # The keys of a set that differ from the name in case only; attrNames is
  # sorted, so the first is the same on every run. Comparing lengths first
  # spares nearly all of nixpkgs' names the conversion.
  inOtherCase =
    name: keys: filter (k: stringLength k == stringLength name && k != name && lower k == name) keys;

  # The key that a component of a name means in a set, or null.
  findKey =
    values: component:
    let
      spellings = [
        component
      ]
      ++ (if match "[0-9].*" component != null then [ "_${component}" ] else [ ]);
      exact = filter (name: hasAttr name values) spellings;
      cased = concatLists (map (name: inOtherCase name (attrNames values)) spellings);
    in
    if exact != [ ] then
      head exact
    else if cased != [ ] then
      head cased
    else
      null;

  step =
    found: component:
    let
      key = if isAttrs found.value then findKey found.value component else null;
    in
    if found ? missing then
      found
    else if key == null then
      found // { missing = component; }
    else
      {
        value = found.value.${key};
        path = found.path ++ [ key ];
      };

  lookUp =
    request:
    foldl' step {
      value = set;
      path = [ ];
    } (filter isString (split "\\." request));

  # Describing

  isDerivation = value: isAttrs value && value.type or null == "derivation";

  words =
    type:
    {
      bool = "a truth value";
      float = "a number";
      int = "a number";
      lambda = "a function";
      list = "a list";
      null = "null";
      path = "a path";
      string = "a string";
      set = "a set";
    }
    .${type} or "a ${type}";

  reason =
    found:
    if isAttrs found.value && !(found.value ? __functor) then
      "it is a set of packages (${concatStringsSep "." found.path}.…)"
    else
      "it is ${if isAttrs found.value then "a function" else words (typeOf found.value)}";

  # A field that is only there to be shown never makes a package fail.
  text =
    value:
    let
      tried = tryEval value;
    in
    if tried.success && isString tried.value && tried.value != "" then
      unsafeDiscardStringContext tried.value
    else
      null;

  license =
    value:
    let
      tried = tryEval (if isList value then value else [ value ]);
      one =
        l:
        let
          forced = tryEval l;
          names = filter (n: n != null) (
            map text (
              if !forced.success then
                [ ]
              else if isAttrs forced.value then
                [
                  (forced.value.spdxId or null)
                  (forced.value.shortName or null)
                  (forced.value.fullName or null)
                ]
              else
                [ forced.value ]
            )
          );
          parts = part: if forced.success && isAttrs forced.value then forced.value.${part} or null else null;
        in
        # nixpkgs joins licences into expressions; their operators are dropped.
        if isList (parts "licenses") then
          concatLists (map one (parts "licenses"))
        else if parts "license" != null then
          one (parts "license")
        else if names == [ ] then
          [ ]
        else
          [ (head names) ];
    in
    if tried.success then concatLists (map one tried.value) else [ ];

  describe =
    request: found:
    let
      package = found.value;
      parsed = parseDrvName (unsafeDiscardStringContext package.name);
      orElse = value: fallback: if value != null then value else text fallback;
    in
    {
      status = "ok";
      inherit request;
      attribute = concatStringsSep "." found.path;
      name = unsafeDiscardStringContext package.name;
      pname = orElse (text (package.pname or null)) parsed.name;
      version = orElse (text (package.version or null)) parsed.version;
      license = license (package.meta.license or [ ]);
      description = text (package.meta.description or null);
      main_program = text (package.meta.mainProgram or null);
      path = package.outPath;
      # A set may name a path that is already in the store, with no derivation.
      derivation = package.drvPath or null;
      output = package.outputName or "out";
    };

  resolve =
    request:
    let
      found = lookUp request;
      answer =
        if found ? missing then
          {
            status = "missing";
            inherit request;
            component = found.missing;
            parent = concatStringsSep "." found.path;
            parent_path = found.path;
          }
        else if isDerivation found.value then
          describe request found
        else
          {
            status = "not_a_package";
            inherit request;
            reason = reason found;
          };
      tried = tryEval (deepSeq answer answer);
    in
    if !catch then
      answer
    else if tried.success then
      tried.value
    else
      {
        status = "refused";
        inherit request;
      };

  answers = map resolve (fromJSON packages);

  namesAt =
    path:
    let
      values = foldl' (values: key: values.${key}) set path;
    in
    if isAttrs values then attrNames values else [ ];

  # What a package has besides is not worth a list.
  list =
    name:
    let
      found = lookUp name;
    in
    if name == null then
      null
    else if name == "" then
      { names = attrNames set; }
    else if found ? missing then
      {
        component = found.missing;
        parent = concatStringsSep "." found.path;
      }
    else
      {
        names = if isDerivation found.value then [ ] else namesAt found.path;
      };

  listed = list (fromJSON names_in);

  kindOf =
    name:
    let
      found = lookUp name;
      kind =
        if found ? missing then
          "unknown"
        else if isDerivation found.value then
          "package"
        else if isAttrs found.value && !(found.value ? __functor) then
          "set"
        else
          "other";
      tried = tryEval kind;
    in
    if tried.success then tried.value else "unknown";

  kinds = listToAttrs (
    map (name: {
      inherit name;
      value = kindOf name;
    }) (fromJSON kinds_of)
  );
in
# The set is forced even when nothing is asked of it: so its own faults show.
builtins.seq set {
  store = builtins.storeDir;
  packages = answers;
  inherit listed kinds;
  names = listToAttrs (
    map (answer: {
      name = answer.parent;
      value = namesAt answer.parent_path;
    }) (filter (answer: answer.status == "missing") answers)
  );
}
