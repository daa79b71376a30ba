# Docker pulls from the module, and runs what it pulled.
{ pkgs, module }:
let
  common = import ./nixos-common.nix { inherit pkgs module; };
in
pkgs.testers.runNixOSTest {
  name = "nixery-docker";

  nodes.machine = {
    imports = [ common.machine ];
    virtualisation.docker.enable = true;
  };

  testScript = common.start + ''
    machine.wait_for_unit("docker.service")
    image = "localhost:8080/shell/jq"

    with subtest("an image is pulled and runs"):
        machine.succeed(f"docker pull {image}")
        assert "jq-" in machine.succeed(f"docker run --rm --network none {image} jq --version")

    with subtest("what is missing is said"):
        # With containerd's image store, Docker only says that it isn't found.
        machine.fail("docker pull localhost:8080/shell/jqq")
        answer = machine.succeed(
            "curl -s -w '%{http_code}' http://localhost:8080/v2/shell/jqq/manifests/latest"
        )
        assert "Could not find Nix packages: jqq" in answer, answer
        assert answer.endswith("404"), answer

    with subtest("a restart keeps what was made"):
        digest = machine.succeed(f"docker inspect --format '{{{{index .RepoDigests 0}}}}' {image}")
        machine.succeed("systemctl restart nixery.service")
        machine.succeed(f"docker image rm {image}")
        # Nix is not asked again: the answer comes at once.
        machine.succeed("curl -fsS --max-time 5 http://localhost:8080/v2/shell/jq/manifests/latest")
        machine.succeed(f"docker pull {image}")
        again = machine.succeed(f"docker inspect --format '{{{{index .RepoDigests 0}}}}' {image}")
        assert again == digest, f"{digest} before, {again} after"

    with subtest("the unit is confined"):
        exposure = machine.succeed("systemd-analyze security nixery.service | tail -n 1")
        assert " OK " in exposure, exposure
  '';
}
