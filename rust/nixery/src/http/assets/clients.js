// What is typed, or written into a file, to use an image with a client.

// Docker trusts this machine without TLS; the others are told to, wherever that is.
const isPlain = location.protocol === "http:";

// An image without a shell runs nothing unless one says what.
function run(program, options, image, hasShell) {
  return hasShell ? `${program} run --rm -ti${options} ${image} bash` : `${program} pull${options} ${image}`;
}

export const clients = {
  docker: {
    name: "Docker",
    text: (image, hasShell) => run("docker", "", image, hasShell),
  },
  podman: {
    name: "Podman",
    text: (image, hasShell) =>
      run("podman", isPlain ? " --tls-verify=false" : "", image, hasShell),
  },
  skopeo: {
    name: "Skopeo",
    text: (image) =>
      `skopeo copy${isPlain ? " --src-tls-verify=false" : ""} docker://${image} oci:image`,
  },
  kubernetes: {
    name: "Kubernetes",
    text: (image) => `image: ${image}`,
  },
  dockerfile: {
    name: "Dockerfile",
    // What is in /bin leads into the store.
    text: (image) =>
      `COPY --from=${image} /nix/store /nix/store\nCOPY --from=${image} /bin /usr/local/bin`,
  },
};
