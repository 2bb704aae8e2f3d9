// Signs a permit with the officer's passkey: the challenge is the SHA-256 of the permit's canonical JSON.
// This is the one page of the portal that cannot work without a script, because a browser offers passkeys
// to scripts only. The form stays hidden where passkeys are not available.

function bytes(s: string): Uint8Array<ArrayBuffer> {
  const raw = atob(s.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(raw, (c) => c.charCodeAt(0));
}

function base64url(b: ArrayBuffer): string {
  let s = "";
  for (const x of new Uint8Array(b)) s += String.fromCharCode(x);
  return btoa(s).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

const form = document.querySelector<HTMLFormElement>("form[data-sign-permit]");
if (form && "credentials" in navigator && "PublicKeyCredential" in window) {
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const error = form.querySelector<HTMLElement>("[data-sign-error]");
    if (error) error.hidden = true;
    try {
      const credential = (await navigator.credentials.get({
        publicKey: {
          challenge: bytes(form.dataset.challenge ?? ""),
          rpId: form.dataset.rpId,
          allowCredentials: (form.dataset.credentials ?? "").split(" ").map((id) => ({ type: "public-key" as const, id: bytes(id) })),
          userVerification: "required",
        },
      })) as PublicKeyCredential;
      const answer = credential.response as AuthenticatorAssertionResponse;
      const set = (name: string, value: ArrayBuffer) => {
        (form.elements.namedItem(name) as HTMLInputElement).value = base64url(value);
      };
      set("credential_id", credential.rawId);
      set("authenticator_data", answer.authenticatorData);
      set("client_data_json", answer.clientDataJSON);
      set("signature", answer.signature);
      form.submit();
    } catch {
      if (error) {
        error.hidden = false;
        error.tabIndex = -1;
        error.focus();
      }
    }
  });
}
