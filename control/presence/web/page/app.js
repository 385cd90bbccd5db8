// SPDX-License-Identifier: MIT OR Apache-2.0
// The page: what the node tells by /api/v1/events is shown, what the user does is sent to /api/v1.
//
// The stream begins with all there is and goes on with what changes; after a break it begins anew, so nothing is asked for twice and nothing
// is missed. What was said is kept by this tab alone (sessionStorage): the node keeps no texts.

import { $, clock, dot, fill, make, show, words } from './view.js';

const API = '/api/v1';
const RENEW = 120_000;
const HOLD = 300;
const KEPT = 200;

let user = null;
let stream = null;
let renewing = 0;
/** What the node has told. */
let me = null;
const contacts = new Map();
const watchers = new Map();
const decisions = new Map();
/** What was said with whom: { texts, unread, typing }. */
const talks = new Map();
/** Numbers of texts that have been shown. */
let seen = new Set();
let open = null;

// Asking the node.

class Refused extends Error {
  constructor(problem, status) {
    super(problem?.detail ?? 'the node does not answer');
    this.status = status;
  }
}

async function ask(method, path, body) {
  const request = { method, headers: {}, credentials: 'same-origin' };
  if (body !== undefined) {
    request.headers['Content-Type'] = 'application/json';
    request.body = JSON.stringify(body);
  }
  const response = await fetch(API + path, request).catch(() => null);
  if (!response) throw new Refused(null, 0);
  const json = response.status === 204 ? null : await response.json().catch(() => null);
  if (response.ok) return json;
  if (response.status === 401 && user) logged_out();
  throw new Refused(json, response.status);
}

/** Does what the user wants; what is wrong with it is said. */
async function attempt(work) {
  try {
    $('alert').hidden = true;
    return await work();
  } catch (why) {
    complain(why.message);
    return undefined;
  }
}

function complain(text) {
  // What stands behind an open dialog is neither seen nor read out.
  const dialog = document.querySelector('dialog[open]');
  if (dialog) dialog.prepend($('alert'));
  else document.querySelector('.bar').after($('alert'));
  $('alert').textContent = `That did not work: ${text}.`;
  $('alert').hidden = false;
}

const at = (path, key) => `${path}/${encodeURIComponent(key)}`;

// Coming and going.

function logged_in(address) {
  user = address;
  restore();
  $('login').hidden = true;
  $('app').hidden = false;
  $('account').hidden = false;
  $('line').textContent = 'Connecting…';
  listen();
  renew();
  renewing = setInterval(renew, RENEW);
}

function logged_out() {
  stream?.close();
  clearInterval(renewing);
  user = me = open = stream = null;
  for (const map of [contacts, watchers, decisions, talks]) map.clear();
  seen = new Set();
  for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
  $('app').hidden = true;
  $('account').hidden = true;
  $('login').hidden = false;
  $('line').textContent = '';
  $('password').value = '';
  draw_title();
  $('user').focus();
}

function listen() {
  stream = new EventSource(`${API}/events`);
  for (const [kind, heard] of Object.entries(HEARD)) {
    stream.addEventListener(kind, (event) => heard(JSON.parse(event.data)));
  }
  stream.onopen = () => { $('line').textContent = ''; };
  stream.onerror = () => {
    $('line').textContent = 'The connection is lost. Trying again…';
    if (stream.readyState !== EventSource.CLOSED) return;
    // The browser has given up: perhaps the session has ended.
    stream.close();
    setTimeout(() => user && ask('GET', '/session').then(listen, () => user && listen()), 3_000);
  };
}

/** Says again what the user has chosen: it holds for five minutes at a time, so that it ends with the page. */
function renew() {
  const { state, note } = chosen();
  const said = state
    ? ask('PUT', '/presence', { state, note, seconds: HOLD })
    : ask('DELETE', '/presence');
  return said.catch((why) => complain(why.message));
}

function chosen() {
  const kept = localStorage.getItem('state') ?? 'available';
  return { state: kept, note: localStorage.getItem('note') ?? '' };
}

// What is heard.

const HEARD = {
  state(all) {
    me = all;
    for (const map of [contacts, watchers, decisions]) map.clear();
    for (const one of all.contacts) contacts.set(one.address, one);
    for (const one of all.watchers) watchers.set(one.address, one);
    for (const one of all.decisions) decisions.set(one.who, one.verdict);
    draw();
  },
  presence(presence) {
    me.presence = presence;
    draw_me();
  },
  contact(one) {
    contacts.set(one.address, one);
    draw_people();
  },
  'contact-removed'({ address }) {
    contacts.delete(address);
    draw_people();
  },
  watcher(one) {
    if (one.status === 'terminated') watchers.delete(one.address);
    else watchers.set(one.address, one);
    draw_requests();
    draw_settings();
  },
  decision({ who, verdict }) {
    if (verdict) decisions.set(who, verdict);
    else decisions.delete(who);
    draw_requests();
    draw_settings();
    draw_talk();
  },
  preference({ name, value }) {
    if (value === null) delete me.preferences[name];
    else me.preferences[name] = value;
    draw_settings();
  },
  text({ id, from, text, time }) {
    // Another of the user's pages may have had it first; then the node knows already.
    ask('POST', `${at('/texts', id)}/received`).catch(() => {});
    if (seen.has(id)) return;
    seen.add(id);
    const talk = talk_with(from);
    talk.typing = false;
    add_text(from, { text, time, mine: false });
    if (from !== open || document.hidden) talk.unread += 1;
    keep();
    draw_people();
  },
  typing({ from, active }) {
    talk_with(from).typing = active;
    if (from === open) draw_talk();
  },
};

// What was said.

function talk_with(address) {
  if (!talks.has(address)) talks.set(address, { texts: [], unread: 0, typing: false });
  return talks.get(address);
}

function add_text(address, text) {
  const { texts } = talk_with(address);
  texts.push(text);
  if (texts.length > KEPT) texts.shift();
  keep();
  if (address === open) {
    $('log').append(bubble(text));
    $('log').scrollTop = $('log').scrollHeight;
  }
}

function keep() {
  const said = [...talks].map(([address, { texts, unread }]) => [address, { texts, unread }]);
  try {
    sessionStorage.setItem(`talks ${user}`, JSON.stringify({ said, seen: [...seen].slice(-KEPT) }));
  } catch {
    // No room: the next reload will not know what was said.
  }
}

function restore() {
  const kept = JSON.parse(sessionStorage.getItem(`talks ${user}`) ?? '{}');
  for (const [address, talk] of kept.said ?? []) talks.set(address, { ...talk, typing: false });
  seen = new Set(kept.seen ?? []);
}

async function say(to, text) {
  const said = { text, time: Date.now(), mine: true, outcome: 'Sending…' };
  add_text(to, said);
  try {
    await ask('POST', '/texts', { to, text });
    said.outcome = 'Delivered';
  } catch (why) {
    said.outcome = `Not delivered: ${why.message}`;
    said.failed = true;
  }
  keep();
  if (to === open) draw_log();
}

// What is shown.

const name_of = (address) => contacts.get(address)?.name || (address === user && me?.name) || address;

function draw() {
  draw_me();
  draw_requests();
  draw_people();
  draw_settings();
  draw_talk();
}

function draw_me() {
  if (!me) return;
  const { state, own } = me.presence;
  show($('me-dot').parentElement, state);
  $('me-name').textContent = me.name || user;
  $('me-address').textContent = me.name ? `${user} · ${words(state)}` : words(state);
  if (document.activeElement !== $('me-state')) $('me-state').value = own ? own.state : chosen().state;
  if (document.activeElement !== $('me-note')) $('me-note').value = own ? own.note : chosen().note;
}

function button(label, spoken, key, action, kind = 'quiet') {
  return make('button', { type: 'button', className: kind, textContent: label, 'aria-label': spoken, 'data-key': key, onclick: action });
}

const decide = (who, verdict) => attempt(() => (verdict ? ask('PUT', at('/decisions', who), { verdict }) : ask('DELETE', at('/decisions', who))));

function draw_requests() {
  const asking = [...watchers.values()].filter(({ status }) => status === 'pending' || status === 'waiting');
  $('requests').hidden = asking.length === 0;
  fill($('request-list'), asking.map(({ address }) => {
    const domain = address.split('@')[1];
    return make('li', {}, make('p', { className: 'who', textContent: address }),
      make('div', { className: 'buttons' },
        button('Allow', `Allow ${address}`, `a ${address}`, () => decide(address, 'allow'), 'main'),
        button('Block', `Block ${address}`, `b ${address}`, () => decide(address, 'block'), 'quiet danger'),
        button(`Allow ${domain}`, `Allow everybody of ${domain}`, `d ${address}`, () => decide(domain, 'allow'))));
  }));
  draw_title();
}

function draw_people() {
  const strangers = [...talks.keys()].filter((address) => !contacts.has(address) && address !== user);
  const people = [...contacts.keys()].sort((a, b) => name_of(a).localeCompare(name_of(b)));
  // By groups in order, each under its name; who stands in several is shown in each, who stands in none before them all.
  const groups = [...new Set(people.flatMap((address) => contacts.get(address).groups))].sort((a, b) => a.localeCompare(b));
  const within = (group) => people.filter((address) => contacts.get(address).groups.includes(group));
  const alone = people.filter((address) => contacts.get(address).groups.length === 0);
  fill($('contact-list'), [
    ...[...alone, ...strangers].map((address) => person(address, '')),
    ...groups.flatMap((group) => [
      make('li', { className: 'group' }, make('h3', { textContent: group })),
      ...within(group).map((address) => person(address, group)),
    ]),
  ]);
  $('no-contacts').hidden = people.length + strangers.length > 0;
  draw_title();
  draw_talk();
}

function person(address, group) {
  const known = contacts.get(address);
  const { unread } = talks.get(address) ?? { unread: 0 };
  const state = known ? words(known.reachability, known.note) : 'Not in your contacts';
  return make('li', {}, make('button',
    { type: 'button', className: 'contact', 'data-key': `${address} ${group}`, 'aria-current': String(address === open), onclick: () => open_talk(address) },
    dot(known?.reachability),
    make('span', { className: 'grow' }, make('span', { className: 'name', textContent: name_of(address) }), make('span', { className: 'state', textContent: state })),
    unread ? make('span', { className: 'badge' }, String(unread), make('span', { className: 'hidden', textContent: ' unread' })) : null));
}

function open_talk(address) {
  open = address;
  if (address) talk_with(address).unread = 0;
  keep();
  $('app').classList.toggle('talking', address !== null);
  draw_people();
  draw_log();
  if (address) $('say').focus();
}

function draw_talk() {
  $('nobody').hidden = open !== null;
  $('somebody').hidden = open === null;
  if (open === null) return;
  const known = contacts.get(open);
  const typing = talks.get(open)?.typing;
  show($('talk-dot').parentElement, known?.reachability);
  $('talk-name').textContent = name_of(open);
  const state = known ? words(known.reachability, known.note) : 'Not in your contacts';
  $('talk-state').textContent = typing ? 'Typing…' : `${open} · ${state}`;
  $('talk-add').hidden = Boolean(known);
  $('talk-edit').hidden = $('talk-remove').hidden = !known;
  $('talk-block').textContent = decisions.get(open) === 'block' ? 'Unblock' : 'Block';
}

function draw_log() {
  $('log').replaceChildren(...(talks.get(open)?.texts ?? []).map(bubble));
  $('log').setAttribute('aria-label', open ? `Conversation with ${name_of(open)}` : 'Conversation');
  $('log').scrollTop = $('log').scrollHeight;
}

function bubble({ text, time, mine, outcome, failed }) {
  const about = [mine ? 'You' : name_of(open), clock(time), outcome].filter(Boolean).join(' · ');
  return make('div', { className: `text${mine ? ' mine' : ''}${failed ? ' failed' : ''}` },
    make('p', { textContent: text }), make('span', { className: 'muted', textContent: about }));
}

function draw_settings() {
  if (!me) return;
  $('unknown-watchers').value = me.preferences['unknown-watchers'] ?? 'ask';
  const rules = [...decisions].sort(([a], [b]) => a.localeCompare(b));
  fill($('rule-list'), rules.map(([who, verdict]) => make('li', { className: 'rule' },
    make('span', { className: 'who', textContent: who }),
    make('span', { className: `verdict ${verdict}`, textContent: verdict === 'block' ? 'Blocked' : 'Allowed' }),
    button('Remove', `Remove the decision about ${who}`, who, () => decide(who, null)))));
  fill($('seer-list'), [...watchers.values()].map(({ address, status }) => make('li', { className: 'rule' },
    make('span', { className: 'who', textContent: address }),
    make('span', { className: 'muted', textContent: status === 'active' ? 'decided' : 'waits for you' }))));
  if (watchers.size === 0) $('seer-list').append(make('li', { className: 'muted', textContent: 'Nobody.' }));
}

function draw_title() {
  const unread = [...talks.values()].reduce((sum, { unread: more }) => sum + more, 0);
  document.title = unread ? `(${unread}) Presence` : 'Presence';
}

// What the user does.

$('login-form').onsubmit = async (event) => {
  event.preventDefault();
  const [name, password] = [$('user').value.trim(), $('password').value];
  if (!name || !password) return complain('name and password are both needed');
  const session = await attempt(() => ask('POST', '/session', { user: name, password }));
  if (session) logged_in(session.user);
  return undefined;
};

$('log-out').onclick = async () => {
  await ask('DELETE', '/presence').catch(() => {});
  await attempt(() => ask('DELETE', '/session'));
  if (user) logged_out();
};

function choose() {
  localStorage.setItem('state', $('me-state').value);
  localStorage.setItem('note', $('me-note').value.trim());
  $('alert').hidden = true;
  return renew();
}
$('me-state').onchange = choose;
$('me-note').onchange = choose;
$('me-form').onsubmit = (event) => {
  event.preventDefault();
  $('me-note').blur();
};

/** Asks about a contact: a new one, or one that is there. */
function ask_about(contact) {
  $('add-form').reset();
  $('add-title').textContent = contact ? 'Change a contact' : 'Add a contact';
  $('add-done').textContent = contact ? 'Change' : 'Add';
  $('add-address').value = contact?.address ?? '';
  $('add-address').readOnly = Boolean(contact);
  $('add-name').value = contact?.name ?? '';
  $('add-groups').value = contact?.groups.join(', ') ?? '';
  $('add').showModal();
  if (contact) $('add-name').focus();
}
$('open-add').onclick = () => ask_about(null);
$('talk-edit').onclick = () => ask_about(contacts.get(open));
$('add-form').onsubmit = async (event) => {
  event.preventDefault();
  const [address, name] = [$('add-address').value.trim(), $('add-name').value.trim()];
  const groups = $('add-groups').value.split(',').map((group) => group.trim()).filter(Boolean);
  $('add').close();
  await attempt(() => ask('PUT', at('/contacts', address), { name, groups }));
};

$('open-settings').onclick = () => $('settings').showModal();
for (const close of document.querySelectorAll('[data-close]')) close.onclick = () => close.closest('dialog').close();
$('unknown-watchers').onchange = () => attempt(() => ask('PUT', '/preferences/unknown-watchers', { value: $('unknown-watchers').value }));
$('rule-form').onsubmit = async (event) => {
  event.preventDefault();
  const verdict = event.submitter?.value === 'allow' ? 'allow' : 'block';
  await decide($('rule-who').value.trim(), verdict);
  $('rule-form').reset();
};

$('back').onclick = () => open_talk(null);
$('talk-add').onclick = () => attempt(() => ask('PUT', at('/contacts', open), { name: '' }));
$('talk-remove').onclick = () => attempt(() => ask('DELETE', at('/contacts', open)));
$('talk-block').onclick = () => decide(open, decisions.get(open) === 'block' ? null : 'block');
$('say').onkeydown = (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $('say-form').requestSubmit();
};
$('say-form').onsubmit = (event) => {
  event.preventDefault();
  const text = $('say').value.trim();
  if (!text || !open) return;
  $('say').value = '';
  say(open, text);
};

document.onvisibilitychange = () => {
  if (document.hidden || open === null || !talks.get(open)?.unread) return;
  talks.get(open).unread = 0;
  keep();
  draw_people();
};

ask('GET', '/session').then(({ user: address }) => logged_in(address), () => logged_out());
