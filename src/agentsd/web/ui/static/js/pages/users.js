import { boot } from "../shell.js";

await boot();
