import { render } from "preact";
import { Connection } from "./connection";
import { Session } from "./session";
import { App } from "./ui/app";
import "uplot/dist/uPlot.min.css";
import "./style.css";

const session = new Session();
const connection = new Connection(session);
render(<App session={session} connection={connection} />, document.getElementById("page")!);
void connection.start();
