import { render } from "preact";
import { Actions } from "./actions";
import { Header, Overview } from "./header";
import { SignIn } from "./signin";
import { store, useStore } from "./store";
import { Tabs } from "./tabs";

function Page() {
  const s = useStore();
  if (s.signedOut) return <SignIn />;
  if (!s.me) return null; // for a moment
  const silent = s.server()?.condition === "silent";
  return (
    <div class={s.lost || !s.broker || silent ? "page stale" : "page"}>
      <Header />
      <Actions />
      <Overview />
      <Tabs />
      <footer class="dim">weir {s.hello?.version} {s.presence && `· ${s.presence.host ?? ""} ${s.presence.interface ?? ""} ${s.presence.tier ?? ""}`}{s.presence?.transport === "plaintext" && <strong> · not encrypted on the way to the broker</strong>}
        {[...new Set([s.presence?.warning, s.limiting?.warning, ...s.warnings])].map((w) => w && <strong key={w}> · {w}</strong>)}</footer>
    </div>
  );
}

void store.start();
render(<Page />, document.getElementById("app")!);
