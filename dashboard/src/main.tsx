import { render } from "preact";
import { Inputs } from "./audio/inputs";
import { Connection } from "./connection";
import { Session } from "./session";
import { App } from "./ui/app";
import "uplot/dist/uPlot.min.css";
import "./style.css";

const session = new Session();
const connection = new Connection(session);
const inputs = new Inputs(session, connection);
render(<App session={session} connection={connection} inputs={inputs} />, document.getElementById("page")!);
void connection.start();
