// The page as a whole: logging in, which chat is open (the address says it), and what a person is
// told of that happens elsewhere.

import { parseKey } from "./chats.js";
import { Composer } from "./composer.js";
import { byId, el } from "./dom.js";
import { Images } from "./images.js";
import { ListView } from "./list.js";
import { Notices } from "./notices.js";
import { Session } from "./session.js";
import { Socket } from "./socket.js";
import { wrongName } from "./text.js";
import { ThreadView } from "./thread.js";

const address = new URL("socket.io/?EIO=4&transport=websocket", location.href);
address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
address.hash = "";

const session = new Session(new Socket(address.href));
const images = new Images((id) => session.image(id));
const list = new ListView(session);
const thread = new ThreadView(session, images, showImage);
const composer = new Composer(session, leaveChat);
const notices = new Notices(session);
/** On a phone the list and the chat are two pages, and a focus in a text opens the keyboard. */
const narrow = matchMedia("(max-width: 46rem)");
let countdown = 0;
/** A log-in that takes longer (milliseconds) is shown. */
const SLOW = 700;

session.onimage = (id, type, data) => images.put(id, type, data);
session.onchange = (what, detail) => {
  switch (what) {
    case "connection":
      drawConnection();
      composer.draw();
      break;
    case "list":
      list.changed();
      notices.count();
      drawHeader();
      if (session.chat) drawBanner();
      break;
    case "log":
      drawRoom();
      break;
    case "row":
      thread.insert(detail);
      break;
    case "outgoing":
      composer.draw();
      list.changed();
      break;
    case "presence":
      thread.presence(detail);
      break;
    case "message":
      notices.message(detail);
      break;
    case "refused":
      remembered.save();
      showLogIn(detail);
  }
};

// What outlasts the page: the name for good, what is new in DMs and the order of the list for good,
// what is written and not sent for this tab. A password is kept nowhere.
const remembered = {
  get name() {
    return localStorage.getItem("centrala.name") ?? "";
  },
  save() {
    const { name } = session.chats.me;
    localStorage.setItem(`centrala.chats.${name}`, session.chats.save());
    const unsent = session.outgoing.all
      .filter((item) => item.text !== undefined)
      .map(({ key, text, state, after }) => ({ key, text, state, after }));
    const written = JSON.stringify({ drafts: composer.save(), unsent });
    sessionStorage.setItem(`centrala.written.${name}`, written);
  },
  restore(name) {
    session.chats.restore(localStorage.getItem(`centrala.chats.${name}`));
    try {
      const written = JSON.parse(sessionStorage.getItem(`centrala.written.${name}`) ?? "{}");
      composer.restore(written.drafts ?? []);
      session.outgoing.restore(written.unsent ?? []);
    } catch {
      // Kept by another version of the page.
    }
  },
};

async function logIn(name, password) {
  const button = byId("log-in-form").querySelector("button");
  button.disabled = true;
  showLogInError("");
  try {
    await session.logIn(name, password, () => remembered.restore(name));
  } finally {
    button.disabled = false;
  }
  localStorage.setItem("centrala.name", name);
  // A tab that is loaded anew goes on by itself, where no password is needed.
  if (password === "") sessionStorage.setItem("centrala.in", name);
  byId("password").value = "";
  byId("log-in").hidden = true;
  byId("exchange").hidden = false;
  byId("my-name").textContent = session.chats.me.name;
  showOpen();
  openFromAddress();
  if (session.open === null) list.focus(null);
}

function showLogIn(error) {
  byId("exchange").hidden = true;
  byId("log-in").hidden = false;
  byId("name").value = remembered.name;
  byId(remembered.name === "" ? "name" : "password").focus();
  showLogInError(error);
  list.clear();
  composer.clear();
  images.clear();
  notices.count();
}

function showLogInError(error) {
  byId("log-in-error").textContent = error;
  byId("log-in-error").hidden = error === "";
}

function logOut() {
  remembered.save();
  sessionStorage.removeItem("centrala.in");
  session.logOut();
  history.replaceState(null, "", location.pathname);
  showLogIn("");
}

function openFromAddress(join = false) {
  if (session.state === "out") return;
  const parsed = parseKey(location.hash);
  const key = parsed && `${parsed.anons}/${parsed.chat}`;
  const before = session.open;
  session.openChat(key, join);
  if (key === before) return;
  showOpen();
  if (key === null) list.focus(before);
  else if (narrow.matches) byId("chat-title").focus();
  else focusRoom();
}

/** Shows the open chat, or none. */
function showOpen() {
  const { open } = session;
  document.body.classList.toggle("in-chat", open !== null);
  byId("room").hidden = open === null;
  byId("no-chat").hidden = open !== null;
  composer.open(open);
  drawRoom();
  notices.count();
}

function focusRoom() {
  if (byId("composer").hidden) byId("chat-title").focus();
  else composer.focus();
}

function leaveChat() {
  location.hash = "";
}

function drawHeader() {
  const { chat, chats } = session;
  byId("my-name").textContent = chats.me.name;
  if (!chat) return;
  byId("chat-title").textContent = chats.title(chat);
  byId("chat-subtitle").textContent = chats.subtitle(chat);
  const ask = byId("ask-privately");
  ask.hidden = chat.kind !== "room" || !chats.mayAskPrivately(chat.anons);
  ask.textContent = "Write privately";
  ask.setAttribute("aria-label", `Write privately to ${chats.owner(chat.anons)}`);
}

function drawRoom() {
  drawHeader();
  if (!session.chat) return;
  thread.draw();
  drawBanner();
  composer.draw();
}

function drawBanner() {
  const { chat, chats, room, state } = session;
  let [text, label, act] = ["", "", null];
  // Not told again each second by a screen reader.
  let aside = "";
  if (state !== "in") {
    [label, act] = ["Try now", () => session.connectNow()];
    const seconds = Math.ceil((session.retryAt - Date.now()) / 1000);
    text = "No connection.";
    aside = seconds > 0 ? ` Next try in ${seconds} s.` : " Connecting…";
  } else if (room.state === "outside" && chats.nameless(chat)) {
    text = "There is no such advert.";
  } else if (room.state === "outside") {
    text = `You have not joined ${chats.title(chat)}. Who joins gets all that is said in it.`;
    [label, act] = ["Join", join];
  } else if (room.state === "refused") {
    text = `This chat cannot be entered: ${room.reason}`;
  } else if (room.state === "failed") {
    [text, label, act] = [`${room.reason} What was said may be missing here.`, "Try again", () => session.enterAgain()];
  } else {
    text = room.notice;
  }
  showBanner(text, aside, label, act);
  byId("composer").hidden = ["outside", "refused"].includes(room.state);
}

/** Changes only what is another than before: it is told, and may have the focus. */
function showBanner(text, aside, label, act) {
  const banner = byId("banner");
  const [words, rest] = [byId("banner-text"), byId("banner-aside")];
  if (words.textContent !== text) words.textContent = text;
  rest.textContent = aside;
  const old = banner.querySelector("button");
  if ((old?.textContent ?? "") !== label) {
    const focused = old !== null && old === document.activeElement;
    old?.remove();
    const kind = label === "Join" ? "primary" : "outlined";
    const button = label ? el("button", { type: "button", class: kind, onclick: act }, label) : null;
    if (button) banner.append(button);
    if (focused) (button ?? byId("chat-title")).focus();
  }
  banner.hidden = text === "";
}

function join() {
  session.enterAgain();
  drawBanner();
  focusRoom();
}

function drawConnection() {
  const status = byId("status");
  const { state } = session;
  status.className = `status ${state}`;
  status.textContent = state === "in" ? "connected" : "no connection";
  clearTimeout(countdown);
  const waits = session.retryAt > Date.now();
  if (state === "connecting") showLogInError(waits ? "The server does not answer. Trying again…" : "");
  if (state === "broken") countdown = setTimeout(drawConnection, 1000);
  if (session.chat) drawBanner();
}

function showImage(row, blob) {
  const dialog = byId("viewer");
  const shown = URL.createObjectURL(blob);
  byId("viewer-name").textContent = row.image.name;
  byId("viewer-image").src = shown;
  byId("viewer-image").alt = row.image.name;
  byId("viewer-save").href = shown;
  byId("viewer-save").download = row.image.name;
  dialog.showModal();
  dialog.addEventListener("close", () => URL.revokeObjectURL(shown), { once: true });
}

byId("log-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = byId("name").value.trim();
  const wrong = name === "" ? "Please say who you are." : wrongName(name);
  if (wrong !== "") {
    showLogInError(wrong);
    byId("name").focus();
    return;
  }
  try {
    await logIn(name, byId("password").value);
  } catch (error) {
    showLogInError(error.message);
    byId(/password/i.test(error.message) ? "password" : "name").focus();
  }
});

byId("log-out").addEventListener("click", logOut);
byId("viewer-close").addEventListener("click", () => byId("viewer").close());
byId("viewer").addEventListener("click", (event) => {
  if (event.target === byId("viewer")) byId("viewer").close();
});

byId("new-advert").addEventListener("click", () => {
  byId("advert-name").value = "";
  byId("advert-error").hidden = true;
  byId("advert-dialog").showModal();
});
byId("advert-cancel").addEventListener("click", () => byId("advert-dialog").close());
byId("advert-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const error = byId("advert-error");
  const name = byId("advert-name").value.trim();
  try {
    const wrong = name === "" ? "An advert needs a name." : wrongName(name);
    if (wrong !== "") throw new Error(wrong);
    const anons = await session.createAdvert(name);
    byId("advert-dialog").close();
    openNow(`${anons}/0`);
  } catch ({ message }) {
    error.textContent = message;
    error.hidden = false;
    byId("advert-name").focus();
  }
});

byId("ask-privately").addEventListener("click", async () => {
  try {
    openNow(await session.askPrivately(session.chat.anons));
  } catch (error) {
    session.room.notice = `That was refused: ${error.message}`;
    drawBanner();
  }
});

/** Opens a chat that the person has just made. */
function openNow(key) {
  history.pushState(null, "", `#${key}`);
  openFromAddress(true);
}

byId("room").addEventListener("keydown", (event) => {
  if (event.key === "Escape" && event.target !== byId("text")) leaveChat();
});
addEventListener("hashchange", () => openFromAddress());
addEventListener("online", () => session.connectNow());
addEventListener("pagehide", () => session.state !== "out" && remembered.save());
addEventListener("beforeunload", (event) => {
  const lost = session.outgoing.all.some((item) => item.image) || composer.holdsImages;
  if (session.state !== "out" && lost) event.preventDefault();
});
document.addEventListener("visibilitychange", () => {
  const visible = document.visibilityState === "visible";
  session.attend(visible);
  if (visible) session.connectNow();
  else if (session.state !== "out") remembered.save();
});
session.attend(document.visibilityState === "visible");

const again = sessionStorage.getItem("centrala.in");
if (again) {
  byId("name").value = again;
  // Mostly the chats are there at once; where they are not, a person sees why.
  const slow = setTimeout(() => (byId("log-in").hidden = false), SLOW);
  logIn(again, "").catch((error) => showLogIn(error.message)).finally(() => clearTimeout(slow));
} else {
  showLogIn("");
}
