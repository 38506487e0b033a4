/**
 * Markdown that grows, shown as elements.
 *
 * No text is ever parsed as HTML, links lead to http and https only, and pictures are not fetched.
 * Maths is TeX in code, until a page that can do better is asked to typeset it.
 */

import { h } from "./dom.js";

const DEEPEST = 6; // quotes and lists inside one another; what is deeper stays text
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const ITEM = /^( {0,9})([-*+]|\d{1,9}[.)])(?:\s+(.*)|\s*)$/;
const QUOTE = /^ {0,3}>\s?(.*)$/;
const FORMULA = /^ {0,3}(?:\$\$|\\\[)/;
const DELIMITER = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const BLANK = /^\s*$/;

/** Bounded, so that marks which nobody closes cost no more than their number. */
const INLINE = new RegExp(
  [
    /\\\((?<round>[\s\S]{1,300}?)\\\)/,
    /\\\[(?<square>[\s\S]{1,1000}?)\\\]/,
    /\\(?<escaped>[!-/:-@[-`{-~])/,
    /(?<ticks>`+)(?<code>[^`](?:[\s\S]{0,2000}?[^`])?)\k<ticks>(?!`)/,
    /\$\$(?<display>[\s\S]{1,1000}?)\$\$/,
    /\$(?<maths>[^\s$](?:[^$\n]{0,300}?[^\s$])?)\$(?!\d)/,
    /\*\*(?<strong>[^\s*](?:[\s\S]{0,1000}?[^\s])?)\*\*/,
    /\*(?<em>[^\s*](?:[\s\S]{0,1000}?[^\s*])?)\*/,
    /(?<![\w_])__(?<strong2>[^\s_](?:[\s\S]{0,1000}?[^\s])?)__(?![\w_])/,
    /(?<![\w_])_(?<em2>[^\s_](?:[\s\S]{0,1000}?[^\s_])?)_(?![\w_])/,
    /~~(?<del>[^\s~](?:[\s\S]{0,1000}?[^\s])?)~~/,
    /!?\[(?<text>[^\[\]]{0,500})\]\(\s*<?(?<target>[^\s<>()]{1,2000}(?:\([^\s<>()]{0,500}\))?)>?(?:\s+["'][^\n]{0,300}?["'])?\s*\)/,
    /<(?<auto>https?:\/\/[^\s<>]{1,2000})>/,
    /(?<bare>https?:\/\/[^\s<>"'`]{0,2000}[^\s<>"'`.,;:!?)\]*_])/,
    /(?<newline> {2,}\n)/,
  ]
    .map((part) => part.source)
    .join("|"),
  "g",
);

/** Text within a block, as nodes. */
function inline(text, depth = 0) {
  if (depth > DEEPEST) return [text];
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > from) nodes.push(text.slice(from, match.index));
    nodes.push(span(match.groups, match[0], depth));
    from = match.index + match[0].length;
  }
  if (from < text.length) nodes.push(text.slice(from));
  return nodes;
}

function span(found, whole, depth) {
  const inner = (text) => inline(text, depth + 1);
  const display = found.display ?? found.square;
  const maths = (display ?? found.maths ?? found.round)?.trim();
  if (found.escaped) return found.escaped;
  if (found.code) return h("code", {}, found.code.replace(/^ (.+) $/, "$1"));
  if (maths) return h("code", { class: "ollmlx-maths", "data-display": display !== undefined }, maths);
  if (found.strong ?? found.strong2) return h("strong", {}, inner(found.strong ?? found.strong2));
  if (found.em ?? found.em2) return h("em", {}, inner(found.em ?? found.em2));
  if (found.del) return h("del", {}, inner(found.del));
  if (found.newline) return h("br");
  const target = found.target ?? found.auto ?? found.bare;
  return link(target, found.target ? [found.text || target] : [target]) ?? whole;
}

/** A link that leads out of the notebook, or null when it leads to anything but a web page. */
function link(target, children) {
  let url;
  try {
    url = new URL(target);
  } catch {
    return null; // relative: there is nothing that it could be relative to
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") return null;
  return h("a", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...children);
}

/** The blocks of a text: a function that makes each one's element, and the line it begins at. */
function blocks(lines, depth = 0) {
  const found = [];
  let at = 0;
  while (at < lines.length) {
    if (BLANK.test(lines[at])) {
      at += 1;
      continue;
    }
    const [end, make] = block(lines, at, depth);
    found.push({ at, make });
    at = end;
  }
  return found;
}

/** The block that begins at a line: the line after it, and what makes its element. */
function block(lines, at, depth) {
  const line = lines[at];
  if (FENCE.test(line)) return fenced(lines, at);
  if (FORMULA.test(line)) return formula(lines, at, depth);
  const heading = HEADING.exec(line);
  if (heading) return [at + 1, () => h(`h${heading[1].length}`, {}, inline(heading[2]))];
  if (RULE.test(line)) return [at + 1, () => h("hr")];
  if (depth < DEEPEST && QUOTE.test(line)) return quote(lines, at, depth);
  if (depth < DEEPEST && ITEM.test(line)) return list(lines, at, depth);
  if (line.includes("|") && DELIMITER.test(lines[at + 1] ?? "")) return table(lines, at);
  return paragraph(lines, at, depth);
}

function fenced(lines, at) {
  const [, fence, language] = FENCE.exec(lines[at]);
  const closes = (line) => line.trim().startsWith(fence) && /^\s*([`~])\1*\s*$/.test(line);
  let end = at + 1;
  while (end < lines.length && !closes(lines[end])) end += 1;
  const code = lines.slice(at + 1, end).join("\n");
  const make = () =>
    h("pre", { tabindex: "0", "data-language": language }, h("code", {}, code));
  return [Math.min(end + 1, lines.length), make];
}

/** To the line with the mark that ends it, whatever its lines begin with; else it is a paragraph. */
function formula(lines, at, depth) {
  const [begins, ends] = lines[at].trimStart().startsWith("$$") ? ["$$", "$$"] : ["\\[", "\\]"];
  const inside = lines[at].indexOf(begins) + begins.length;
  let end = at;
  while (end < lines.length && !BLANK.test(lines[end]) && lines[end].indexOf(ends, end === at ? inside : 0) < 0) end += 1;
  if (end === lines.length || BLANK.test(lines[end])) return paragraph(lines, at, depth);
  const text = lines.slice(at, end + 1).join("\n");
  return [end + 1, () => h("p", {}, inline(text, depth))];
}

function quote(lines, at, depth) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  const inside = lines.slice(at, end).map((line) => QUOTE.exec(line)[1]);
  return [end, () => h("blockquote", {}, elements(inside, depth + 1))];
}

/** Items as long as they are at least as far in as the first; blank lines may stand between them. */
function list(lines, at, depth) {
  const [, margin, mark] = ITEM.exec(lines[at]);
  const ordered = /\d/.test(mark);
  const items = [];
  let end = at;
  while (end < lines.length) {
    const item = ITEM.exec(lines[end]);
    if (item && item[1].length <= margin.length + 1) {
      if (/\d/.test(item[2]) !== ordered || item[1].length < margin.length) break;
      items.push([item[3] ?? ""]);
    } else if (BLANK.test(lines[end])) {
      if (!continues(lines, end + 1, margin.length)) break;
      items.at(-1).push("");
    } else if (starts(lines[end]) && indent(lines[end]) <= margin.length) {
      break;
    } else {
      items.at(-1).push(lines[end].slice(Math.min(indent(lines[end]), margin.length + mark.length + 1)));
    }
    end += 1;
  }
  const make = () => {
    const entries = items.map((inside) => h("li", {}, tight(inside, depth + 1)));
    return ordered ? h("ol", { start: String(parseInt(mark, 10)) }, entries) : h("ul", {}, entries);
  };
  return [end, make];
}

/** Whether a list goes on after blank lines. */
function continues(lines, at, margin) {
  const next = lines.slice(at).find((line) => !BLANK.test(line));
  return next !== undefined && (indent(next) > margin || ITEM.test(next));
}

function indent(line) {
  return line.length - line.trimStart().length;
}

/** An item's own text without a paragraph around it. */
function tight(lines, depth) {
  const [first, ...rest] = elements(lines, depth);
  return first?.tagName === "P" ? [...first.childNodes, ...rest] : [first ?? "", ...rest];
}

function cells(line) {
  const inside = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return inside.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function table(lines, at) {
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|") && !BLANK.test(lines[end])) end += 1;
  const row = (line, tag) => h("tr", {}, cells(line).map((cell) => h(tag, {}, inline(cell))));
  const make = () =>
    h(
      "table",
      {},
      h("thead", {}, row(lines[at], "th")),
      h("tbody", {}, lines.slice(at + 2, end).map((line) => row(line, "td"))),
    );
  return [end, make];
}

/** Whether a line ends the paragraph before it. */
function starts(line) {
  return [FENCE, HEADING, RULE, QUOTE, FORMULA].some((form) => form.test(line)) || ITEM.test(line);
}

function paragraph(lines, at, depth) {
  let end = at + 1;
  while (end < lines.length && !BLANK.test(lines[end])) {
    if (depth < DEEPEST && starts(lines[end])) break;
    end += 1;
  }
  const text = lines.slice(at, end).join("\n").trim();
  return [end, () => h("p", {}, inline(text))];
}

function elements(lines, depth) {
  return blocks(lines, depth).map(({ make }) => make());
}

/**
 * Shows a text that grows: only its last two blocks are made anew, as those before them cannot
 * change any more.
 */
export class Growing {
  constructor(element) {
    this.element = element;
    this.tail = "";
    this.loose = [];
  }

  /** Takes more text; `paint` shows it. */
  add(text) {
    this.tail += text;
  }

  /** `whole` says that no more text comes. */
  paint(whole = false) {
    const lines = this.tail.split("\n");
    const found = blocks(lines);
    const made = found.map(({ make }) => make());
    for (const node of this.loose) node.remove();
    this.element.append(...made);
    this.loose = made.slice(-2);
    if (found.length > 2) this.tail = lines.slice(found.at(-2).at).join("\n");
    for (const node of whole ? made : made.slice(0, -2)) typeset(node);
  }
}

/** JupyterLab's extension takes the event, and has MathJax show the maths of a block. */
function typeset(block) {
  if (block.querySelector(".ollmlx-maths")) block.dispatchEvent(new CustomEvent("ollmlx:typeset", { bubbles: true }));
}

const FASTEST_MS = 50;
const SHARE = 8; // of the time at most one eighth goes to painting

/** Calls `paint` after `ask`, at most 20 times a second, and less often when it is slow. */
export class Painter {
  constructor(paint) {
    this.paint = paint;
    this.timer = null;
    this.next = 0;
  }

  ask() {
    if (this.timer !== null) return;
    const wait = Math.max(0, this.next - performance.now());
    this.timer = setTimeout(() => requestAnimationFrame(() => this.now()), wait);
  }

  now() {
    clearTimeout(this.timer);
    this.timer = null;
    const begun = performance.now();
    this.paint();
    this.next = begun + Math.max(FASTEST_MS, (performance.now() - begun) * SHARE);
  }
}
