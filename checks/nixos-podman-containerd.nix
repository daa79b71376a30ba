# Podman, skopeo and containerd pull from the module, which systemd listens for.
{ pkgs, module }:
let
  common = import ./nixos-common.nix { inherit pkgs module; };
in
pkgs.testers.runNixOSTest {
  name = "nixery-podman-containerd";

  nodes.machine = {
    imports = [ common.machine ];
    services.nixery.socketActivation = true;
    virtualisation.containerd.enable = true;
    virtualisation.podman.enable = true;
    environment.systemPackages = [ pkgs.skopeo ];
  };

  testScript = ''
    start_all()
    machine.wait_for_unit("nixery.socket")

    with subtest("the first connection starts it"):
        assert "inactive" in machine.execute("systemctl is-active nixery.service")[1]
        machine.succeed("curl -fsS --max-time 60 http://localhost:8080/readyz")
        machine.wait_for_unit("nixery.service")
        machine.succeed("curl -fsS --max-time 600 http://localhost:8080/v2/shell/jq/manifests/latest")

    with subtest("podman"):
        machine.succeed("podman pull --tls-verify=false localhost:8080/shell/jq")
        printed = machine.succeed("podman run --rm --network none localhost:8080/shell/jq jq --version")
        assert "jq-" in printed, printed

    with subtest("skopeo"):
        machine.succeed("skopeo copy --src-tls-verify=false docker://localhost:8080/shell/jq oci:/tmp/image")

    with subtest("containerd"):
        machine.wait_for_unit("containerd.service")
        machine.succeed("ctr images pull --plain-http localhost:8080/shell/jq:latest")
        printed = machine.succeed("ctr run --rm localhost:8080/shell/jq:latest one jq --version")
        assert "jq-" in printed, printed

    with subtest("while it is restarted, connections wait"):
        machine.succeed("systemctl restart nixery.service & curl -fsS --max-time 60 http://localhost:8080/v2/; wait")
  '';
}
