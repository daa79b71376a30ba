# Nixery's own image runs in Docker and serves: without a network, only what needs none.
{ pkgs, image }:
pkgs.testers.runNixOSTest {
  name = "nixery-image";

  nodes.machine = {
    virtualisation.docker.enable = true;
    virtualisation.diskSize = 8192;
    virtualisation.memorySize = 2048;
  };

  testScript = ''
    start_all()
    machine.wait_for_unit("docker.service")
    machine.succeed("${image} | docker load")
    machine.succeed(
        "mkdir /packages && echo '{ system ? builtins.currentSystem }: { }' > /packages/default.nix"
    )

    with subtest("without a package source it says what to set"):
        refused = machine.fail("docker run --rm nixery:${image.imageTag} 2>&1")
        assert "NIXERY_CHANNEL" in refused, refused

    with subtest("it serves on PORT, as on Cloud Run"):
        machine.succeed(
            "docker run -d --name nixery -p 8080:9000 -e PORT=9000 -v /packages:/packages "
            "-e NIXERY_PKGS_PATH=/packages nixery:${image.imageTag}"
        )
        machine.wait_until_succeeds("curl -fsS http://localhost:8080/readyz")

    with subtest("its Nix works"):
        refused = machine.succeed("curl -s http://localhost:8080/v2/nothing/manifests/latest")
        assert "Could not find Nix packages" in refused, refused

    with subtest("it ends when it is told to"):
        machine.succeed("timeout 20 docker stop -t 30 nixery")
  '';
}
