// Passkeys in the browser (W3C WebAuthn level 3). Without script there are none: pages say so in a
// noscript element.
//
//   <button data-passkey="sign-in" data-next="/path">            signs in
//   <form data-passkey="enrol"><input name="label">…             registers a passkey
//   <form data-passkey="sign" data-options="{…}" method="post">  asks for an assertion over the given
//     <input type="hidden" name="assertion">…                    challenge, then sends the form
//
// An element [data-passkey-error] near it is shown when something fails.

type Dict = Record<string, unknown>;

function bytes(text: string): ArrayBuffer {
  const raw = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(raw, (c) => c.charCodeAt(0)).buffer;
}

function text(buffer: ArrayBuffer | null): string | undefined {
  if (!buffer) return undefined;
  let raw = "";
  for (const b of new Uint8Array(buffer)) raw += String.fromCharCode(b);
  return btoa(raw).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

function withIds(list: unknown): PublicKeyCredentialDescriptor[] {
  return ((list as Dict[] | undefined) ?? []).map((c) => ({ ...c, id: bytes(c.id as string) })) as unknown as PublicKeyCredentialDescriptor[];
}

async function assertion(publicKey: Dict): Promise<Dict> {
  const options = { ...publicKey, challenge: bytes(publicKey.challenge as string), allowCredentials: withIds(publicKey.allowCredentials) };
  const c = (await navigator.credentials.get({ publicKey: options as unknown as PublicKeyCredentialRequestOptions })) as PublicKeyCredential;
  const r = c.response as AuthenticatorAssertionResponse;
  return {
    id: c.id, rawId: text(c.rawId), type: c.type, clientExtensionResults: c.getClientExtensionResults(),
    response: { authenticatorData: text(r.authenticatorData), clientDataJSON: text(r.clientDataJSON), signature: text(r.signature), userHandle: text(r.userHandle) },
  };
}

async function registration(publicKey: Dict): Promise<Dict> {
  const user = publicKey.user as Dict;
  const options = {
    ...publicKey, challenge: bytes(publicKey.challenge as string), user: { ...user, id: bytes(user.id as string) },
    excludeCredentials: withIds(publicKey.excludeCredentials),
  };
  const c = (await navigator.credentials.create({ publicKey: options as unknown as PublicKeyCredentialCreationOptions })) as PublicKeyCredential;
  const r = c.response as AuthenticatorAttestationResponse;
  return {
    id: c.id, rawId: text(c.rawId), type: c.type, clientExtensionResults: c.getClientExtensionResults(),
    response: { attestationObject: text(r.attestationObject), clientDataJSON: text(r.clientDataJSON), transports: r.getTransports?.() ?? [] },
  };
}

async function post(path: string, body?: unknown): Promise<Dict> {
  const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: body === undefined ? undefined : JSON.stringify(body) });
  const json = (await answer.json()) as Dict;
  if (!answer.ok) throw new Error((json.detail as string) ?? answer.statusText);
  return json;
}

function guarded(element: HTMLElement, work: () => Promise<void>): void {
  const box = (element.closest("[data-passkey-box]") ?? document).querySelector<HTMLElement>("[data-passkey-error]");
  if (box) box.hidden = true;
  work().catch(() => {
    if (!box) return;
    box.hidden = false;
    box.focus();
  });
}

for (const button of document.querySelectorAll<HTMLButtonElement>('[data-passkey="sign-in"]')) {
  button.hidden = false;
  button.addEventListener("click", () =>
    guarded(button, async () => {
      const options = await post("/api/v1/sign-in/options");
      const me = await post("/api/v1/sign-in", await assertion(options.publicKey as Dict));
      const next = button.dataset.next;
      location.assign(next && next !== "/" ? next : (me.home as string));
    }),
  );
}

for (const form of document.querySelectorAll<HTMLFormElement>('form[data-passkey="enrol"]')) {
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(form, async () => {
      const options = await post("/api/v1/passkeys/options");
      const label = (form.elements.namedItem("label") as HTMLInputElement | null)?.value ?? "";
      await post("/api/v1/passkeys?label=" + encodeURIComponent(label), await registration(options.publicKey as Dict));
      location.assign("/account?added=1");
    });
  });
}

for (const form of document.querySelectorAll<HTMLFormElement>('form[data-passkey="sign"]')) {
  const field = form.elements.namedItem("assertion") as HTMLInputElement;
  form.addEventListener("submit", (event) => {
    if (field.value) return;
    event.preventDefault();
    guarded(form, async () => {
      const options = JSON.parse(form.dataset.options ?? "{}") as Dict;
      field.value = JSON.stringify(await assertion((options.publicKey ?? options) as Dict));
      form.submit();
    });
  });
}
