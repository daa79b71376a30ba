// Takes apart what somebody has typed or pasted: packages, names of images, and whole
// commands and addresses that have the name of an image in them.

// What stands at the front of names for people, but is no package.
export const platforms = ["amd64", "arm64"];
export const shellName = "shell";

// Programs that pull images, with what may stand before them.
const command = /^\s*(?:[$#>]\s+)?(?:sudo\s+)?(?:docker|podman|nerdctl|skopeo|crane|buildah|ctr|crictl|kubectl|FROM)\s/;

// How the address of a registry begins: a name with a port, localhost, an IPv6 address, or
// a name with a dot, which a set of packages has too.
const withPort = /^(?:localhost|[\w.-]+:\d+|\[[\da-f:.]+\](?::\d+)?)\//i;
const withDot = /^[\w-]+(?:\.[\w-]+)+\//;
// The ends of names of machines; those of packages are hardly ever like these.
const domain = /\.(?:de|ch|at|eu|uk|fr|nl|se|no|dk|fi|be|it|es|pl|cz|io|us|ca|jp|cn|au|com|org|net|dev|app|cloud|info|edu|gov|example|test|local|lan|internal|home)\//i;

// A tag, and a digest, behind the name of an image.
const ending = /^([^:@]*)(?::([\w][\w.-]*))?(?:@(\w+:\w+))?$/;

// { words, tags, digest, isReference }: the parts of names in lower case, without those of
// an address; `isReference` says that it was the whole name of an image, with its host.
// `host` is that of this page.
export function parse(text, host) {
  const isCommand = command.test(text);
  const texts = text.split(/[\s,]+/).filter(Boolean).map((one) => reference(one, host, isCommand));
  // Of a command, nothing else is a name: neither options nor what is run.
  const ofImage = isCommand ? texts.find((one) => one.isReference) : undefined;
  const found = { words: [], tags: new Set(), digest: "", isReference: false };
  for (const one of ofImage ? [ofImage] : texts) {
    const [, name, tag, digest] = ending.exec(one.name) ?? ["", one.name];
    found.words.push(...name.toLowerCase().split("/").filter(Boolean));
    if (tag) found.tags.add(tag);
    found.digest ||= digest ?? "";
    found.isReference ||= one.isReference;
  }
  return found;
}

// One word, without scheme and host where it has these.
function reference(text, host, isOfCommand) {
  const word = text.replace(/^--?[\w-]+=/, isOfCommand ? "" : "$&");
  const scheme = /^[a-z][a-z+.-]*:\/\//i.exec(word)?.[0] ?? "";
  const rest = word.slice(scheme.length);
  const [, second = ""] = rest.split("/");
  const isHost = withPort.test(rest) || rest.startsWith(`${host}/`)
    || rest.startsWith(`${host.replace(/:\d+$/, "")}/`)
    || (withDot.test(rest) && (scheme || isOfCommand || domain.test(rest.slice(0, rest.indexOf("/") + 1))
      || [shellName, ...platforms].includes(second)));
  if (!isHost) return { name: word, isReference: false };
  const path = rest.slice(rest.indexOf("/") + 1);
  // The address of an image's page.
  const page = /^builds\/(.+)\/([^/]+)$/.exec(path);
  return { name: scheme && page ? `${page[1]}:${page[2]}` : path, isReference: true };
}
