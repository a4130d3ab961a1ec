// The invitation stands in the link's fragment, which no server sees: it is put into the form.
const token = document.getElementById("token");
if (location.hash.length > 1) token.value = decodeURIComponent(location.hash.slice(1));
