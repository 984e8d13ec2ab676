// Shows a notice in the page, and tells the server what the user does about it.
// `notice` has what the server says, and `answer` what the page answers: columns of one value.
// Texts of others are only ever set as text, never as HTML.
const said = (name) => notice.get_array(name)[0]
const bars = (globalThis.bokehExporterNotices ??= new Map())
const known = bars.get(notice.id) ?? {}
bars.set(notice.id, known)
const write = (word) => { answer.data = {said: [word], number: [said("number")]} }

// A screen reader sends `click` and `input` without any of the others.
const SIGNS = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart", "click", "input"]
const BAR = "display:flex;gap:16px;align-items:center;justify-content:center;padding:12px 16px;"
  + "background:#fff3cd;color:#332701;border-bottom:1px solid #b38600;"
  + "font:16px/1.4 system-ui,sans-serif;box-sizing:border-box;pointer-events:auto"
const BUTTON = "padding:6px 16px;border:1px solid #332701;border-radius:4px;background:#fff;"
  + "color:#332701;font:inherit;cursor:pointer"
const STACK = "position:fixed;top:0;left:0;right:0;z-index:2147483647;pointer-events:none"
const VEIL = "position:fixed;inset:0;z-index:2147483646;background:rgba(255,255,255,.75)"

function element(name, style, inside) {
  const made = document.createElement(name)
  made.style.cssText = style
  inside.append(made)
  return made
}

function stack() {
  const id = "bokeh-exporter-notices"
  const found = document.getElementById(id)
  if (found) return found
  const made = element("div", STACK, document.body)
  made.id = id
  return made
}

function time(seconds) {
  const two = (value) => String(value).padStart(2, "0")
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60]
  const end = two(Math.floor(seconds) % 60)
  return hours ? `${hours}:${two(minutes)}:${end}` : `${minutes}:${end}`
}

function show() {
  if (!known.bar?.isConnected) {
    known.bar = element("div", BAR, stack())
    known.bar.setAttribute("role", "alert")
    known.text = element("span", "", known.bar)
    known.time = element("strong", "font-variant-numeric:tabular-nums", known.bar)
    known.button = element("button", BUTTON, known.bar)
  }
  known.text.textContent = said("text")
  known.button.textContent = said("button")
  known.until = Date.now() + 1000 * said("left")
  known.timer ??= setInterval(count, 1000)
  count()
}

function count() {
  const left = Math.max(0, Math.round((known.until - Date.now()) / 1000))
  known.time.textContent = left ? time(left) : ""
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

function stay() {
  hide()
  write("stay")
}

function veil() {
  known.veil ??= element("div", VEIL, document.body)
}

function unveil() {
  known.veil?.remove()
  known.veil = undefined
}

function tell() {
  show()
  known.button.onclick = () => {
    hide()
    write("seen")
  }
}

// The user answers by the button, or by any use of the page. The server closes the page only after
// the page itself has said `silent`: what the user did before has then arrived there.
function ask() {
  show()
  known.button.onclick = stay
  listen((event) => {
    const moved = event.type != "pointermove" || event.movementX || event.movementY
    if (event.isTrusted && moved) stay()
  })
  if (said("left") > 0) {
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
kinds[said("kind")]?.()
