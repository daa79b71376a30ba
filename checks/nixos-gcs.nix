# Images in a bucket, for which an emulator stands; Docker follows signed URLs.
{ pkgs, module }:
let
  common = import ./nixos-common.nix { inherit pkgs module; };
  account = "nixery@test.iam.gserviceaccount.com";
in
pkgs.testers.runNixOSTest {
  name = "nixery-gcs";

  nodes.machine =
    { lib, ... }:
    {
      imports = [ common.machine ];
      virtualisation.docker.enable = true;
      environment.systemPackages = [ pkgs.openssl ];

      systemd.services.storage-emulator = {
        wantedBy = [ "multi-user.target" ];
        before = [ "nixery.service" ];
        serviceConfig.ExecStart = "${lib.getExe pkgs.fake-gcs-server} -scheme http -host 127.0.0.1 -port 4443 -backend memory -public-host localhost:4443";
        postStart = ''
          until ${lib.getExe pkgs.curl} -fsS -X POST -H 'Content-Type: application/json' \
            -d '{"name": "images"}' http://127.0.0.1:4443/storage/v1/b; do sleep 1; done
        '';
      };
      systemd.services.signing-key = {
        wantedBy = [ "multi-user.target" ];
        before = [ "nixery.service" ];
        serviceConfig.Type = "oneshot";
        serviceConfig.RemainAfterExit = true;
        script = ''
          umask 077
          ${lib.getExe pkgs.openssl} genpkey -algorithm RSA -out /run/signing-key.pem
        '';
      };

      services.nixery = {
        credentials.signingKey = "/run/signing-key.pem";
        settings = {
          storage.backend = "gcs";
          gcs = {
            bucket = "images";
            endpoint = "http://localhost:4443";
            anonymous = true;
            signing_account = account;
          };
        };
      };
      systemd.services.nixery = {
        requires = [
          "signing-key.service"
          "storage-emulator.service"
        ];
        after = [
          "signing-key.service"
          "storage-emulator.service"
        ];
      };
    };

  testScript = common.start + ''
    machine.wait_for_unit("docker.service")

    with subtest("clients are sent to the bucket"):
        machine.succeed("docker pull localhost:8080/shell/jq")
        manifest = "http://localhost:8080/v2/shell/jq/manifests/latest"
        layer = machine.succeed(f"curl -fsS {manifest} | ${pkgs.lib.getExe pkgs.jq} -r '.layers[0].digest'").strip()
        blob = f"http://localhost:8080/v2/shell/jq/blobs/{layer}"
        target = machine.succeed(f"curl -s -o /dev/null -w '%{{http_code}} %{{redirect_url}}' {blob}")
        assert target.startswith("307 http://localhost:4443/images/layers/"), target
        assert "X-Goog-Signature=" in target, target

    with subtest("nothing of it is on the disk"):
        machine.fail("test -e /var/lib/nixery/storage")
  '';
}
