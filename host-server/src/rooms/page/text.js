// A message's text for the page: text nodes, and links for addresses that are plainly meant so.

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
