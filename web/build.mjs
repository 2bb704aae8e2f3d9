// Builds dist/: app.css from theme and component styles, app.js from the scripts of components and pages,
// and the pictures. Run by "npm run build"; nothing is downloaded here.
import { build } from "esbuild";
import { cpSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compile } from "sass";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
mkdirSync(dist, { recursive: true });

// Styles and scripts of a page lie beside its template and are found by their ending.
function pageFiles(ending) {
  const found = [];
  for (const zone of ["portal", "enclave", "demo"]) {
    for (const name of readdirSync(join(here, zone), { recursive: true })) {
      if (String(name).endsWith(ending)) found.push(join(zone, String(name)).replaceAll("\\", "/"));
    }
  }
  return found.sort();
}

const css = compile(join(here, "theme", "app.scss"), {
  style: "compressed",
  loadPaths: [join(here, "node_modules"), here],
  quietDeps: true,
  silenceDeprecations: ["import", "global-builtin"],
});
const pageCSS = pageFiles(".scss").map((f) => compile(join(here, f), { style: "compressed", loadPaths: [here], charset: false }).css);
writeFileSync(join(dist, "app.css"), [css.css, ...pageCSS].join("\n"));

await build({
  stdin: {
    contents: ["components/app.ts", "components/passkey.ts", ...pageFiles(".ts")].map((f) => `import "./${f}";`).join("\n"),
    resolveDir: here,
  },
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2020",
  outfile: join(dist, "app.js"),
  legalComments: "inline",
  logLevel: "warning",
});

cpSync(join(here, "theme", "images"), dist, { recursive: true });
