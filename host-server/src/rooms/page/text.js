// Texts of people: what may be a name, and a message's text for the page: text nodes, and links for
// addresses that are plainly meant so.

/** Bytes that a name may have. */
export const LONGEST_NAME = 29;

/** Why a text, without the space around it, is no name: a sentence, or "" if it is one. */
export function wrongName(text) {
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > LONGEST_NAME) {
    const accents = bytes > text.length ? ", and a letter with an accent counts as two" : "";
    return `A name has at most ${LONGEST_NAME} characters${accents}: this has ${bytes}.`;
  }
  if (/^[~#]/.test(text)) return `A name does not begin with “${text[0]}”.`;
  if (text.includes("/")) return "A name has no “/”.";
  if (/\p{Cc}/u.test(text)) return "A name has no control characters.";
  return text.includes("  ") ? "A name has no two spaces in a row." : "";
}

const ADDRESS = /\bhttps?:\/\/[^\s<>"'`]+/gu;
/** What ends a sentence, or closes what was opened before the address, is not of it. */
const AFTER = /[.,;:!?…)\]}»”’]+$/u;

/** The pieces of a text: strings, and { address } for links. */
export function pieces(text) {
  const found = [];
  let at = 0;
  for (const match of text.matchAll(ADDRESS)) {
    let address = match[0];
    const after = AFTER.exec(address)?.[0] ?? "";
    const closed = after.startsWith(")") && address.includes("(");
    if (after && !closed) address = address.slice(0, -after.length);
    if (!URL.canParse(address)) continue;
    if (match.index > at) found.push(text.slice(at, match.index));
    found.push({ address });
    at = match.index + address.length;
  }
  if (at < text.length) found.push(text.slice(at));
  return found;
}
