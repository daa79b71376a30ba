# The book, as a directory of web pages.
{
  lib,
  stdenvNoCC,
  mdbook,
}:
stdenvNoCC.mkDerivation {
  name = "nixery-book";

  src = lib.fileset.toSource {
    root = ../book;
    fileset = lib.fileset.unions [
      ../book/book.toml
      ../book/src
    ];
  };

  nativeBuildInputs = [ mdbook ];

  buildPhase = ''
    runHook preBuild
    mdbook build --dest-dir $out
    runHook postBuild
  '';
  dontInstall = true;

  meta.description = "The documentation of Nixery";
}
