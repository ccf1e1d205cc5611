import { defineConfig } from "vite";

const MONITOR = "http://127.0.0.1:8765";

// Fixed names in one flat folder: the monitor serves what lies there, and the files are in git.
export default defineConfig({
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: {
    proxy: Object.fromEntries(
      ["/events", "/audio", "/healthz", "/metrics"].map((path) => [path, { target: MONITOR, ws: true }]),
    ),
  },
  build: {
    outDir: "../monitor/dashboard",
    emptyOutDir: false,
    assetsDir: "",
    target: "es2022",
    modulePreload: { polyfill: false },
    rollupOptions: {
      // The browser loads what records on its own: a script of the page cannot hold it.
      input: { dashboard: "index.html", recorder: "src/audio/recorder.worklet.ts" },
      output: { entryFileNames: "[name].js", assetFileNames: "dashboard[extname]" },
    },
  },
});
