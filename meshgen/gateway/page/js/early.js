// Before the first paint: the colours that were chosen here, if any.
(function () {
  try {
    const theme = localStorage.getItem("meshgen.theme");
    if (theme) document.documentElement.dataset.theme = theme;
  } catch (error) {
    console.warn("this browser keeps nothing for this page", error);
  }
})();
