// The login: the token once, then a cookie that no script can read.

import { post } from "./api.js";
import { fill, h } from "./dom.js";

export function login(main, { go, query }) {
    const field = h("input", { id: "token", type: "password", autocomplete: "current-password", required: true, spellcheck: "false" });
    const said = h("div", { role: "alert" });
    const button = h("button", { class: "main", type: "submit" }, "Log in");
    const form = h("form", { class: "login" },
        h("h1", {}, "benchlet"),
        h("p", {}, "Log in with the token of this controller."),
        // Where a password manager keeps the token.
        h("input", { type: "text", autocomplete: "username", value: "benchlet", hidden: true }),
        h("label", { for: "token" }, "Token"), field, said, button,
        h("p", { class: "soft" }, h("code", {}, "cat .benchlet/token"), " shows it where the controller runs, unless its settings name another ",
            h("code", {}, "state"), " or ", h("code", {}, "api.token_file"), "."));
    form.addEventListener("submit", async (event) => {
        event.preventDefault();
        button.disabled = true;
        try {
            await post("/api/login", { token: field.value.trim() });
            const back = query.get("next") ?? "/";
            // Only to an address of this page.
            go(new URL(back, location.origin).origin === location.origin ? back : "/");
        } catch (error) {
            fill(said, h("p", { class: "notice bad" }, error.message));
            button.disabled = false;
            field.select();
        }
    });
    fill(main, form);
    field.focus();
}
