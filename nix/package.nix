# The server alone, so that it isn't compiled again for a change of the book or of the
# builder.
{
  callPackage,
  # For the tests that run in the build.
  cacert,
  git,
}:
callPackage ./crate.nix { } "nixery" {
  # They need Python's packages for the emulator of Cloud Storage.
  checkFlags = [ "--skip=storage::gcs::tests" ];
  # HTTP clients can't be made without any authority, even where there is no TLS.
  nativeCheckInputs = [
    cacert
    git
  ];
}
