// Shows a notice in the page, and tells the server what the user does about it.
// The tags of `notice` have what the server says, and those of `answer` what the page answers.
// Texts of others are only ever set as text, never as HTML.
const said = JSON.parse(notice.tags[0])
const bars = (globalThis.bokehExporterNotices ??= new Map())
const known = bars.get(said.bar) ?? {}
bars.set(said.bar, known)
const write = (word) => { answer.tags = [word, said.number] }

// A screen reader sends `click` and `input` without any of the others.
const SIGNS = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart", "click", "input"]
const BAR = "display:flex;gap:16px;align-items:center;justify-content:center;padding:12px 16px;"
  + "background:#fff3cd;color:#332701;border-bottom:1px solid #b38600;"
  + "font:16px/1.4 system-ui,sans-serif;box-sizing:border-box;pointer-events:auto"
const BUTTON = "padding:6px 16px;border:1px solid #332701;border-radius:4px;background:#fff;"
  + "color:#332701;font:inherit;cursor:pointer"
const STACK = "position:fixed;inset:0 0 auto 0;width:auto;max-width:none;margin:0;padding:0;border:0;"
  + "background:none;overflow:visible;z-index:2147483647;pointer-events:none"
const LOST_SECONDS = 12 // since the app removed all roots, so that the server can say no more
const CAN_RISE = "showPopover" in HTMLElement.prototype
const VEIL = "position:fixed;inset:0;z-index:2147483646;background:rgba(255,255,255,.75)"

function element(name, style, inside) {
  const made = document.createElement(name)
  made.style.cssText = style
  inside.append(made)
  return made
}

// A modal dialog disables all that is outside of it, so the bars go into it.
function stack() {
  const id = "bokeh-exporter-notices"
  const inside = CAN_RISE && [...document.querySelectorAll("dialog:modal")].at(-1) || document.body
  const made = document.getElementById(id) ?? element("div", STACK, inside)
  if (made.parentElement != inside) inside.append(made)
  made.id = id
  return made
}

// Nothing else than a popover is shown above dialogs and elements in full screen. Beside the latter
// it is seen but takes no clicks; any use of the page answers a question there too.
function rise(made) {
  if (!CAN_RISE) return
  const {left, top, width, height} = made.getBoundingClientRect()
  const full = document.fullscreenElement
  const middle = [left + width / 2, top + height / 2]
  const isRisen = full ? made.above == full : made.contains(document.elementFromPoint(...middle))
  made.above = full
  if (isRisen) return
  made.popover = "manual"
  made.hidePopover()
  made.showPopover()
}

function time(seconds) {
  const two = (value) => String(value).padStart(2, "0")
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60]
  const end = two(Math.floor(seconds) % 60)
  return hours ? `${hours}:${two(minutes)}:${end}` : `${minutes}:${end}`
}

function show() {
  const all = stack()
  if (!known.bar?.isConnected) {
    known.bar = element("div", BAR, all)
    known.bar.setAttribute("role", "alert")
    known.bar.setAttribute("aria-atomic", "false")
    known.text = element("span", "", known.bar)
    known.text.dir = "auto"
    known.time = element("strong", "font-variant-numeric:tabular-nums", known.bar)
    known.time.setAttribute("aria-live", "off") // else a screen reader reads every second
    known.button = element("button", BUTTON, known.bar)
  }
  if (known.text.textContent != said.text) known.text.textContent = said.text
  if (known.button.textContent != said.button) known.button.textContent = said.button
  known.until = Date.now() + 1000 * said.left
  known.hangs = () => notice.document != null
  known.timer ??= setInterval(count, 1000)
  count()
  rise(all)
}

function count() {
  const left = Math.max(0, Math.round((known.until - Date.now()) / 1000))
  known.time.textContent = left ? time(left) : ""
  known.lost = known.hangs() ? 0 : (known.lost ?? 0) + 1
  if (known.lost > LOST_SECONDS) hide()
}

function hide() {
  clearInterval(known.timer)
  known.timer = undefined
  known.bar?.remove()
  listen(undefined)
}

function listen(heard) {
  for (const sign of SIGNS) {
    if (known.heard) window.removeEventListener(sign, known.heard, true)
    if (heard) window.addEventListener(sign, heard, {capture: true, passive: true})
  }
  known.heard = heard
}

// The user has answered. The app may just have removed the root at which `answer` hangs, and then
// the server does not hear of it. So the answer is written again if the same notice is shown again.
function settle(word) {
  known.settled = {first: said.first, word}
  hide()
  write(word)
}

function isSettled() {
  if (known.settled?.first != said.first) return false
  settle(known.settled.word)
  return true
}

function veil() {
  known.veil ??= element("div", VEIL, document.body)
}

function unveil() {
  known.veil?.remove()
  known.veil = undefined
}

function tell() {
  if (isSettled()) return
  show()
  known.button.onclick = () => settle("seen")
}

// The user answers by the button, or by any use of the page. The server closes the page only after
// the page itself has said `silent`: what the user did before has then arrived there.
function ask() {
  if (isSettled()) return
  show()
  const stay = () => settle("stay")
  known.button.onclick = stay
  listen((event) => {
    const moved = event.type != "pointermove" || event.movementX || event.movementY
    if (event.isTrusted && moved) stay()
  })
  if (said.left > 0) {
    unveil()
    write("shown")
    return
  }
  listen(undefined)
  veil()
  write("silent")
}

function released() {
  const config = notice.document?.config
  config?.setv({reconnect_session: false, notify_connection_status: false}, {sync: false})
  show()
  listen(undefined)
  veil()
  known.button.onclick = () => location.reload()
}

function nothing() {
  hide()
  unveil()
}

const kinds = {tell, ask, released, nothing}
kinds[said.kind]?.()
