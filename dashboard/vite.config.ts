import { defineConfig } from "vite";

// Fixed names in one flat folder: the monitor serves what lies there, and the files are in git.
export default defineConfig({
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: { proxy: { "/events": { target: "http://127.0.0.1:8765", ws: true } } },
  build: {
    outDir: "../monitor/dashboard",
    emptyOutDir: false,
    assetsDir: "",
    target: "es2022",
    modulePreload: { polyfill: false },
    rollupOptions: {
      output: { entryFileNames: "dashboard.js", assetFileNames: "dashboard[extname]" },
    },
  },
});
