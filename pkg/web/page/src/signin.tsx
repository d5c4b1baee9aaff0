// Who sits there? Where nobody has to sign in, nothing of this is seen.

import { useEffect, useRef, useState } from "preact/hooks";
import { Passkeys, possible, reason, sign } from "./passkeys";
import { store, useStore } from "./store";
import type { Person } from "./wire";

export function SignIn() {
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [code, setCode] = useState("");
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState("");
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => first.current?.focus(), []);

  const enter = async (e: SubmitEvent) => {
    e.preventDefault();
    const byPasskey = e.submitter?.id === "passkey";
    setBusy(true);
    setFault("");
    try {
      const second = byPasskey ? { passkey: await sign() } : { code };
      const response = await fetch("api/session", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name, password, ...second }),
      });
      const said = (await response.json()) as Person & { error?: string };
      if (response.ok) return store.enter(said);
      setFault(said.error ?? `the page's server says ${response.status}`);
      setCode("");
    } catch (e) {
      setFault(reason(e));
    } finally {
      setBusy(false);
    }
  };
  return (
    <main class="signin">
      <form onSubmit={enter} aria-labelledby="title">
        <h1 id="title">weir</h1>
        <label>Name <input ref={first} autocomplete="username" autocapitalize="none" required value={name} onInput={(e) => setName(e.currentTarget.value)} /></label>
        <label>Password <input type="password" autocomplete="current-password" required value={password} onInput={(e) => setPassword(e.currentTarget.value)} /></label>
        <label>Code of the authenticator <input inputMode="numeric" autocomplete="one-time-code" value={code} onInput={(e) => setCode(e.currentTarget.value)} /></label>
        <p role="alert" class="fault">{fault}</p>
        <button class="primary" disabled={busy} aria-busy={busy}>Sign in{busy && " …"}</button>
        {possible(store.passkeys) && <button id="passkey" disabled={busy}>Use a passkey instead of a code</button>}
      </form>
    </main>
  );
}

// The name of whoever is signed in, and the way out.
export function Me() {
  const s = useStore();
  const [keys, setKeys] = useState(false);
  if (!s.me?.name) return null;
  const out = async () => {
    await fetch("api/session", { method: "DELETE", headers: { "Weir-Token": s.me?.token ?? "" } }).catch(() => undefined);
    s.leave();
  };
  return (
    <div class="me">
      {s.me.name} ({s.me.role}) {possible(s.me.passkeys) && <button type="button" onClick={() => setKeys(true)}>Passkeys</button>} <button type="button" onClick={out}>Sign out</button>
      {keys && <Passkeys close={() => setKeys(false)} />}
    </div>
  );
}
