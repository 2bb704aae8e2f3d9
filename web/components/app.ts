// Enhances pages that work without it: focus on the error summary, no double sending, partial updates.
import { createAll, Button, Checkboxes, ErrorSummary, NotificationBanner, Radios, SkipLink } from "govuk-frontend";
import "htmx.org";

document.body.classList.add("js-enabled");
if ("noModule" in HTMLScriptElement.prototype) document.body.classList.add("govuk-frontend-supported");
createAll(Button);
createAll(Checkboxes);
createAll(ErrorSummary);
createAll(NotificationBanner);
createAll(Radios);
createAll(SkipLink);

// <button data-print> prints the page; it is hidden where there is no script.
for (const b of document.querySelectorAll<HTMLButtonElement>("button[data-print]")) {
  b.hidden = false;
  b.addEventListener("click", () => window.print());
}
